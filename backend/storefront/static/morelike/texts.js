/* Every sentence a shopper can read, in one table that a page may replace in part, and how numbers are written. */

export const TEXTS = {
  search: "Search",
  searchLabel: "Search the shop",
  placeholder: "Describe it, or drop a picture here",
  pickPicture: "Search by picture",
  speak: "Search by voice",
  listening: "Listening…",
  speakNow: "Say what you are looking for; it is searched when you pause.",
  heardNothing: "Nothing was heard.",
  microphoneRefused: "The browser does not let this page use the microphone.",
  microphoneMissing: "No microphone was found.",
  voiceUnusable: "This browser cannot turn speech into words here.",
  dropHere: "Drop to search with this picture",
  yourPicture: "Your picture",
  like: "Like",
  likeThis: "More like this",
  remove: "Remove",
  clearText: "Clear the text",
  skip: "Skip to the results",
  tryThese: "Try",
  filters: "Filters",
  clearFilters: "Clear all",
  inStock: "In stock only",
  soldOutToo: "Sold-out ones too",
  price: "Price",
  priceFrom: "From",
  priceTo: "to",
  apply: "Apply",
  showAll: "Show all",
  showFewer: "Show fewer",
  sort: "Sort by",
  sorts: {relevance: "Relevance", price_asc: "Price: low to high", price_desc: "Price: high to low", newest: "Newest"},
  facets: {category: "Category", brand: "Brand", price: "Price"},
  results: "Results",
  product: "product",
  products: "products",
  about: "About",
  none: "No products",
  looking: "Looking…",
  stillLooking: "Still looking… this takes longer than usual.",
  more: "Show more",
  loadingMore: "One moment…",
  end: "That is everything.",
  emptyTitle: "Nothing fits all of this",
  emptyText: "Other words may help, or fewer filters.",
  offlineTitle: "You seem to be offline",
  offlineText: "The search goes on by itself when the connection is back.",
  unreachableTitle: "The shop does not answer",
  unreachableText: "It may be back in a moment.",
  limitedTitle: "That was a little fast",
  limitedText: "The shop asks for a short break. The search goes on in {seconds} s.",
  failedTitle: "This did not work",
  retry: "Try again",
  pictureRefused: "This file cannot be read as a picture. JPEG, PNG, WebP and GIF work everywhere.",
  soldOut: "Sold out",
  preorder: "Pre-order",
  backorder: "On back-order",
  available: "In stock",
  close: "Close",
  backToResults: "Back to the results",
  visit: "View in the shop",
  details: "Details",
  variants: "Choose from",
  captions: "In other words",
  image: "Image",
  similar: "More like this",
  showAllSimilar: "See all like this",
  noImage: "No picture yet",
  refineLabel: "Say what is close",
  thumbUp: "Closer to what I want",
  thumbDown: "Not what I want",
  likeTheseBut: "More like these, but …",
  likeThisBut: "More like this, but …",
  refine: "Refine",
  refineHint: "With no words, the list is refined by its own first products",
  trail: "Your steps",
  everything: "Everything",
  undo: "Undo",
  redo: "Go forward to this step",
  goBack: "Go back to this step",
  startOver: "Start over",
  whyThese: "Why these?",
  refined: "Refined",
  byItself: "More of these",
  youLike: "You like",
  youDislike: "Not for you",
  tookBack: "Taken back",
  aPart: "A part of it",
  takeBack: "Take back",
  trayHint: "Tell with a thumb what is close and what is not; the list follows.",
  newHere: "New",
  movedFrom: "Moved from place {from} to place {to}.",
  becauseLiked: "because you liked",
  becauseSaid: "for “{text}”",
  becausePart: "for the part you marked",
  blended: "Kept close to your first search, so that it does not get lost.",
  held: "Nothing here pointed anywhere better, so the list stays.",
  turnCame: "The list has followed",
  expired: "The refined list is no longer kept; this is the search that it began with.",
  notRefined: "This step did not go through: {detail}",
  offlineTurn: "You seem to be offline. What you said is kept, and sent when the connection is back.",
  limitedTurn: "That was a little fast. It goes on in {seconds} s.",
  leaveIt: "Leave it",
  markPart: "Mark what you mean",
  markHint: "Mark a part",
  drawHint: "Draw a box around a part of the picture.",
  drawnHint: "Move it, or pull at its corners. More boxes may follow.",
  addBox: "Add a box",
  removeBox: "Remove the box",
  boxRole: "box",
  whatOfIt: "What of the box",
  moreOfThis: "More of this",
  lessOfThis: "Less of this",
  showMe: "Show me",
  movedBy: "This list was moved by {reasons}.",
  and: "and by",
  strategies: {
    likes: "what you liked and did not like", text: "your words “{text}”", boxes: "the parts you marked", none: "nothing",
    prf: "its first products", grf: "what its first products' captions say", rocchio: "its best and its last products",
    afs: "what its first products show and say, looked at piece by piece", afs_images: "what its first products show, looked at piece by piece",
  },
  closeness: "Closeness to your first search",
  closenessIs: "{percent} % like your first search",
  whereLooked: "Show where it looked",
  whereItLooks: "Where it looks",
  notLooked: "Nothing to show: no summarizer looks at pictures in this shop.",
  towards: "Towards it",
  away: "Away from it",
};

/** `base` with `changes` laid over it, one level deep. */
export function withTexts(base, changes = {}) {
  const merged = {...base, ...changes};
  for (const group of ["sorts", "facets", "strategies"]) merged[group] = {...base[group], ...changes[group]};
  return merged;
}

/** A price as people write it; a currency that is missing or unknown leaves the bare number. */
export function money(amount, currency, locale) {
  if (amount === null || amount === undefined) return "";
  try {
    return new Intl.NumberFormat(locale, currency ? {style: "currency", currency} : {minimumFractionDigits: 2, maximumFractionDigits: 2}).format(amount);
  } catch {
    return `${amount.toFixed(2)} ${currency ?? ""}`.trim();
  }
}

/** "About 318 products" */
export function countOf(total, isEstimate, texts, locale) {
  if (total === 0) return texts.none;
  const number = new Intl.NumberFormat(locale).format(total);
  return `${isEstimate ? `${texts.about} ` : ""}${number} ${total === 1 ? texts.product : texts.products}`;
}

/** "attributes.shoe_size" -> "Shoe size" */
export function facetName(facet, texts) {
  if (texts.facets[facet]) return texts.facets[facet];
  const name = facet.replace(/^attributes\./, "").replace(/[_-]+/g, " ");
  return name.charAt(0).toUpperCase() + name.slice(1);
}
