/* What Morelike answers, as InstantSearch is answered. */

import {nameOf, valuesOf} from "./asked.js";

/** The result for `params` on page `page` of a list; `total` and `facets` are those of its first page. `imageUrl` makes addresses absolute. */
export function resultOf(indexName, params, {page, answer, first, imageUrl}) {
  const hitsPerPage = params.hitsPerPage ?? 20;
  const {facets, stats} = facetsOf([params.facets ?? []].flat(), first.facets ?? {});
  const shown = page * hitsPerPage + (answer?.hits.length ?? 0);
  const total = answer && !answer.cursor ? shown : first.total;
  return {
    index: indexName, query: params.query ?? "", params: "", page, hitsPerPage,
    hits: (answer?.hits ?? []).slice(0, hitsPerPage).map((hit) => hitOf(hit, params, imageUrl)),
    nbHits: total, nbPages: Math.max(Math.ceil(total / (hitsPerPage || 1)), answer?.cursor ? page + 2 : 0),
    exhaustiveNbHits: first.total_is === "exact", exhaustiveFacetsCount: first.total_is === "exact",
    processingTimeMS: Math.round(answer?.took_ms ?? 0), ...(first.query_id && {queryID: first.query_id}), facets, facets_stats: stats,
  };
}

/** Values of the facet `name` in which `asked` occurs, most frequent first. */
export function facetHitsOf(name, counts, asked, most, params) {
  const wanted = asked.toLowerCase();
  const found = Object.entries(valuesOf(name, counts)).filter(([value]) => value.toLowerCase().includes(wanted)).slice(0, most);
  return found.map(([value, count]) => ({value, highlighted: highlighted(value, [wanted], params).value, count}));
}

function hitOf({product_id: id, position, score, product}, params, imageUrl) {
  const words = (params.query ?? "").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const texts = {title: product.title, brand: product.brand ?? "", captions: product.captions};
  const marked = Object.fromEntries(Object.entries(texts).map(([name, text]) =>
    [name, Array.isArray(text) ? text.map((one) => highlighted(one, words, params)) : highlighted(text, words, params)]));
  return {...product, objectID: id, image: imageUrl(product.image), position, score, _highlightResult: marked};
}

/** `text` with the words that begin like one of `words` between the tags that InstantSearch asks for, and escapes around. */
function highlighted(text, words, {highlightPreTag = "<em>", highlightPostTag = "</em>"}) {
  const found = new Set();
  const value = text.replace(/[\p{L}\p{N}]+/gu, (word) => {
    const match = words.find((one) => one && word.toLowerCase().startsWith(one));
    if (match) found.add(match);
    return match ? `${highlightPreTag}${word}${highlightPostTag}` : word;
  });
  const matchLevel = found.size === 0 ? "none" : found.size === words.length ? "full" : "partial";
  return {value, matchLevel, fullyHighlighted: false, matchedWords: [...found]};
}

/** Counts by value for each of `wanted`; of prices their least and greatest. */
function facetsOf(wanted, counted) {
  const facets = {};
  const stats = {};
  for (const name of wanted) {
    const counts = counted[nameOf(name)];
    if (!counts) continue;
    facets[name] = name === "price" ? {} : valuesOf(name, counts);
    if (name === "price" && counts.min !== null) stats.price = {min: counts.min, max: counts.max};
  }
  return {facets, stats};
}
