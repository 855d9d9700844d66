/* Morelike behind InstantSearch: its search client, its insights client, and what of the results is in sight. */

import {facetHitsOf, resultOf} from "./answered.js";
import {nameOf, requestOf} from "./asked.js";

const KEPT_LISTS = 30;
const TYPING_PAUSE_MS = 400;

class InstantSearchConnection {
  /** Options as of `Morelike.collect`; `productPage` is link, or dialog where a hit is opened without leaving the page. */
  constructor(options = {}) {
    this.api = new Morelike(options);
    this.collector = Morelike.collect(options);
    this.lists = new Map();  // a request -> its pages: promises of answers
    this.asked = null;
    this.searchClient = {
      search: (requests) => Promise.all(requests.map((one) => this.#result(one))).then((results) => ({results})),
      searchForFacetValues: (requests) => Promise.all(requests.map((one) => this.#facetValues(one))),
    };
    this.insightsClient = Object.assign((...said) => this.#happened(...said), {version: "2.0.0-morelike"});
    this.away = options.productPage !== "dialog";
    this.collector.arrived();
    addEventListener("pageshow", ({persisted}) => persisted && this.collector.arrived());
  }

  /** For `searchBox`: asks once somebody pauses, so that half-typed words are no lists of their own. */
  queryHook = (query, search) => {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => search(query), TYPING_PAUSE_MS);
  };

  /** Tell what is in sight of the elements in `container` that say `data-product` and `data-list`, now and whenever they change. */
  watch(container) {
    const look = () => {
      const cards = [...container.querySelectorAll("[data-product][data-list]")];
      this.collector.shown(cards[0]?.dataset.list ?? null, cards);
    };
    new MutationObserver(look).observe(container, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-product", "data-list"]});
    look();
  }

  imageUrl(path, width) {
    return this.api.imageUrl(path, width);
  }

  /** The address of a hit's own page with the list in it that it is opened from. */
  linkTo(hit) {
    return this.collector.linked(hit.url, hit.__queryID);
  }

  async #result({indexName, params = {}}) {
    const request = requestOf(indexName, params);
    const imageUrl = (path) => this.api.imageUrl(path);
    if (params.hitsPerPage === 0) {  // only counts, for a menu of which something is chosen
      const first = await this.#counts(request);
      return resultOf(indexName, params, {page: 0, answer: null, first, imageUrl});
    }
    const page = params.page ?? 0;
    const pages = this.#list({...request, limit: params.hitsPerPage ?? 20});
    const answers = [await pages[0]];
    while (answers.length <= page && answers.at(-1).cursor) {
      const place = answers.length;
      pages[place] ??= this.#ask({cursor: answers.at(-1).cursor, limit: params.hitsPerPage ?? 20});
      pages[place].catch(() => pages.splice(place));  // asked for again next time
      answers.push(await pages[place]);
    }
    this.#shown(answers[0].query_id, request.text);
    return resultOf(indexName, params, {page, answer: answers[page] ?? null, first: answers[0], imageUrl});
  }

  /** The pages of the list that answers `request`: the same words again are the same list, so that its pages stay one order. */
  #list(request) {
    const key = JSON.stringify(request);
    const pages = this.lists.get(key) ?? [this.#ask({...request, ...this.#layout()})];
    this.lists.delete(key);
    this.lists.set(key, pages);
    pages[0].catch(() => this.lists.delete(key));
    for (const old of [...this.lists.keys()].slice(0, -KEPT_LISTS)) this.lists.delete(old);
    return pages;
  }

  #ask(request) {
    return this.api.search({...request, ...this.collector.asker});
  }

  #counts(request) {
    return this.#ask({...request, limit: 1, partial: true});
  }

  #layout() {
    const {columns} = this.collector;
    return columns ? {layout: columns > 1 ? "grid" : "list", columns} : {};
  }

  async #facetValues({indexName, params}) {
    const {facetName, facetQuery = "", maxFacetHits = 10, ...rest} = params;
    const {facets} = await this.#counts({...requestOf(indexName, rest), facets: [nameOf(facetName)]});
    return {facetHits: facetHitsOf(facetName, facets?.[nameOf(facetName)] ?? {}, facetQuery, maxFacetHits, params), exhaustiveFacetsCount: false, processingTimeMS: 0};
  }

  #shown(list, text) {
    if (text && this.asked && this.asked.text !== text) this.collector.reworded(this.asked.list, list);
    if (text) this.asked = {list, text};
  }

  /** What the insights middleware says. Products that are merely on the page are not told as seen: `watch` knows better. */
  #happened(method, said, then) {
    if (method === "getUserToken") return then?.(null, this.collector.asker.shopper_id);
    if (method === "sendEvents") return said.forEach((event) => this.#happened(methodOf(event), event));
    const {objectIDs = [], queryID, objectData = [], currency} = said ?? {};
    const known = objectIDs.map((productId, place) => ({
      productId, queryId: objectData[place]?.queryID ?? queryID, quantity: objectData[place]?.quantity, price: numberOf(objectData[place]?.price),
    }));
    if (/^clickedObjectIDs/.test(method)) known.forEach(({productId, queryId}) => this.collector.clicked(productId, queryId, {away: this.away}));
    else if (/^(converted|addedToCart)ObjectIDs/.test(method)) known.forEach(({productId, ...rest}) => this.collector.addedToCart(productId, {...rest, currency}));
    else if (/^purchasedObjectIDs/.test(method)) this.collector.purchased({currency, items: known});
    return undefined;
  }
}

/** The method that an event of `sendEvents` stands for. */
function methodOf({eventType, eventSubtype}) {
  if (eventType === "click") return "clickedObjectIDs";
  return {addToCart: "addedToCartObjectIDs", purchase: "purchasedObjectIDs"}[eventSubtype] ?? (eventType === "conversion" ? "convertedObjectIDs" : "");
}

function numberOf(price) {
  return price === undefined || price === null ? undefined : Number(price);
}

/** Morelike for InstantSearch: {searchClient, insightsClient, queryHook, watch, imageUrl, linkTo, collector}. */
Morelike.instantSearch = (options) => new InstantSearchConnection(options);
