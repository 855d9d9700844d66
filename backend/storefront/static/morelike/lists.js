/* Which list a product was opened from: carried to the shop's own pages in the address, and remembered for the cart. */

import {keep, recall} from "./memory.js";

const CARRIED = "ml_list";
const LISTS = "lists";
const MOST_PRODUCTS = 100;

/** The address `url` with the list it is opened from in it. */
export function withList(url, queryId) {
  if (!url || !queryId) return url;
  const carrying = new URL(url, location.href);
  carrying.searchParams.set(CARRIED, queryId);
  return carrying.href;
}

/** The list that this page was opened from, taken out of its address so that a link to the page does not carry it on. */
export function takeList() {
  const here = new URL(location.href);
  const queryId = here.searchParams.get(CARRIED);
  if (queryId === null) return null;
  here.searchParams.delete(CARRIED);
  history.replaceState(history.state, "", here);
  return /^[\w-]{1,32}$/.test(queryId) ? queryId : null;
}

/** `productId` was opened from the list `queryId`: what is done with it later counts for that list. */
export function rememberList(productId, queryId) {
  const {[productId]: _, ...others} = recall(LISTS) ?? {};
  const kept = Object.entries(others).slice(1 - MOST_PRODUCTS);
  keep(LISTS, Object.fromEntries([...kept, [productId, queryId]]));
}

export function listOfProduct(productId) {
  return recall(LISTS)?.[productId] ?? null;
}
