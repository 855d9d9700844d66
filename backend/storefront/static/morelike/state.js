/* What is being searched, and how it is written into an address that can be shared and reloaded. */

import {UNTOUCHED, listOf} from "./turns.js";

export const EMPTY = Object.freeze({text: "", spoken: false, picture: null, product: null, filters: Object.freeze({}), sort: "relevance", ...UNTOUCHED});

/** The state as query parameters. A picture that was dropped is named by the number it has in this tab. */
export function toParams(state) {
  const params = new URLSearchParams();
  if (state.text.trim()) params.set("q", state.text.trim());
  if (state.product) params.set("like", state.product.id);
  if (state.picture) params.set(state.picture.url ? "image" : "picture", state.picture.url || state.picture.id);
  for (const [name, value] of Object.entries(state.filters)) {
    if (name === "price") params.set("price", `${value.gte ?? ""}..${value.lte ?? ""}`);
    else if (name === "in_stock") params.set("in_stock", value);
    else for (const one of value) params.append(name, one);
  }
  if (state.sort !== "relevance") params.set("sort", state.sort);
  if (listOf(state)) params.set("list", listOf(state));
  if (params.size === 0) params.set("q", "");  // everything the shop has; no parameters at all is the page's own query
  return params;
}

/**
 * The state that `params` say; what they say wrongly is left out, and where they say nothing `text` is searched.
 * `pictures` finds a dropped picture again; `session` is what the history keeps of the turns that led here.
 */
export function fromParams(params, pictures, text, session = null) {
  const state = {...EMPTY, text: params.get("q") || "", sort: params.get("sort") || "relevance", filters: {}};
  const says = params.has("q") || params.has("sort");
  if (params.get("like")) state.product = {id: params.get("like")};
  if (params.get("image")) state.picture = {url: params.get("image"), name: params.get("image")};
  else if (params.get("picture")) state.picture = pictures.find(params.get("picture"));
  for (const name of new Set(params.keys())) {
    const value = filterOf(name, params);
    if (value !== null) state.filters[name] = value;
  }
  const blank = !says && !state.product && !state.picture && Object.keys(state.filters).length === 0;
  return resumed(blank ? {...state, text} : state, params.get("list"), session);
}

/** `state` with the turns that the history kept; a list that came by its address alone is one turn of unknown words. */
function resumed(state, list, session) {
  if (session && listOf(session) === list) return {...state, begin: session.begin, turns: session.turns, at: session.at};
  const {filters, sort} = state;
  return list ? {...state, begin: {id: null, filters, sort}, turns: [{id: list, said: null, filters, sort}], at: 1} : state;
}

function filterOf(name, params) {
  if (name === "price") {
    const [low, high] = params.get("price").split("..").map(amount);
    const range = {...(low !== null && {gte: low}), ...(high !== null && {lte: high})};
    return Object.keys(range).length ? range : null;
  }
  if (name === "in_stock") return params.get(name) === "any" ? "any" : null;
  if (name === "category" || name === "brand" || name.startsWith("attributes.")) return params.getAll(name);
  return null;
}

/** A number of zero or more, or null. */
export function amount(text) {
  const number = Number.parseFloat(String(text ?? "").replace(",", "."));
  return Number.isFinite(number) && number >= 0 ? number : null;
}

/** The request body of `state`. */
export function toRequest(state) {
  const request = {};
  if (state.text.trim()) request.text = state.text.trim();
  if (state.text.trim() && state.spoken) request.query_type = "voice";
  if (state.picture) request.image = state.picture.url ? {url: state.picture.url} : {base64: state.picture.data};
  if (state.product) request.product_id = state.product.id;
  if (Object.keys(state.filters).length) request.filters = state.filters;
  if (state.sort !== "relevance") request.sort = state.sort;
  return request;
}

/** `filters` with one value of a list filter switched on or off; the argument is left as it was. */
export function toggled(filters, name, value) {
  const values = filters[name] || [];
  const next = values.includes(value) ? values.filter((one) => one !== value) : [...values, value];
  return withFilter(filters, name, next.length ? next : null);
}

/** As `toggled`, for category paths: choosing one lets go of those it lies in and of those that lie in it. */
export function toggledPath(filters, path) {
  const apart = (one) => one === path || !(`${one} > `.startsWith(`${path} > `) || `${path} > `.startsWith(`${one} > `));
  return toggled({...filters, category: (filters.category || []).filter(apart)}, "category", path);
}

/** `filters` with `name` set to `value`, or without it where `value` is null. */
export function withFilter(filters, name, value) {
  const {[name]: _, ...rest} = filters;
  return value === null ? rest : {...rest, [name]: value};
}

/** Reads and writes the address: in the query string (`query`), behind the hash (`hash`), or nowhere (`off`). */
export class Address {
  constructor(mode) {
    this.mode = mode;
  }

  /** What the address says; null where it stands at an anchor of the page itself. */
  read() {
    if (this.mode === "off") return {params: new URLSearchParams(), productId: null};
    const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
    if (path && !path.startsWith("/")) return this.mode === "query" ? {params: ours(location.search), productId: null} : null;
    const product = path.match(/^\/product\/([^/]+)$/);
    const params = ours(this.mode === "query" ? location.search : query);
    return {params, productId: product ? decode(product[1]) : null};
  }

  /** The address of `state`, with the product page of `productId` open where one is given. */
  of(state, productId = null) {
    const params = toParams(state).toString();
    const page = productId === null ? "" : `/product/${encodeURIComponent(productId)}`;
    if (this.mode === "query") {
      const theirs = [...new URLSearchParams(location.search)].filter(([name]) => !isOurs(name));
      return `${location.pathname}?${theirs.length ? `${new URLSearchParams(theirs)}&` : ""}${params}${page ? `#${page}` : ""}`;
    }
    return `${location.pathname}${location.search}#${page || "/"}?${params}`;
  }
}

const NAMES = new Set(["q", "like", "image", "picture", "price", "in_stock", "category", "brand", "sort", "list"]);

/** Whether a parameter is the search's; the others belong to the page and are left as they are. */
function isOurs(name) {
  return NAMES.has(name) || name.startsWith("attributes.");
}

function ours(query) {
  return new URLSearchParams([...new URLSearchParams(query)].filter(([name]) => isOurs(name)));
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
