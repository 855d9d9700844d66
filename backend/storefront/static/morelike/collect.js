/* What a shopper sees and does, told to the server: what was in sight, opened, looked at, come back from, put in the cart, bought. */

import {Consent, Identity} from "./consent.js";
import {Exposure, columnsOf, wholeMs} from "./exposure.js";
import {listOfProduct, rememberList, takeList, withList} from "./lists.js";
import {forget, keep, recall} from "./memory.js";
import {Outbox} from "./outbox.js";

const AWAY = "away";

export class Collector {
  /** `collect` is on, consent or off; `shopper` and `user` are the page's own ids of who it is; `surface` is web or app. */
  constructor(client, {collect = "on", shopper = null, user = null, surface = "web"} = {}) {
    this.consent = new Consent(collect, (given) => this.#turned(given));
    this.identity = new Identity(this.consent, {shopper, user});
    Object.assign(this, {surface, outbox: new Outbox(client), visit: null, cameFrom: null, columns: null, covered: false, stripCovered: false});
    this.results = this.#exposure(() => this.columns);
    this.strip = this.#exposure(() => null);
    this.#turned(this.consent.given);
    document.addEventListener("visibilitychange", () => document.hidden ? this.#pause() : this.#resume());
    addEventListener("pagehide", () => this.#pause());
    addEventListener("pageshow", ({persisted}) => persisted && this.#resume());
  }

  /** Who searches and where: {shopper_id, session_id, user_id} where it may be told, and the surface and device. */
  get asker() {
    return {...this.identity.ids, surface: this.surface, device: deviceOf()};
  }

  /** Who is signed in, or null for nobody any more. */
  identify(user) {
    this.identity.user = user;
  }

  /** The list `queryId` is shown: `cards` are elements by product id, or elements with `data-product`. `columns` stand side by side. */
  shown(queryId, cards, {columns = null} = {}) {
    const elements = cards instanceof Map ? cards : new Map([...cards].map((card) => [card.dataset.product, card]));
    this.columns = columns ?? columnsOf([...elements.values()]);
    this.results.show(queryId, elements);
  }

  /** A strip of similar products is shown on a product page; like `shown`, beside it. */
  shownBeside(queryId, cards) {
    this.strip.show(queryId, cards);
  }

  /** Something lies over the results, or over the strip too: what is under it is not in sight. */
  cover(results, strip) {
    Object.assign(this, {covered: results, stripCovered: strip});
    this.#watch();
  }

  /** The list `next` was asked for in other words or by another picture than the list `left`. */
  reworded(left, next) {
    if (left && next && left !== next) this.#tell({type: "reformulation", query_id: left, next_query_id: next});
  }

  /** A product of the list `queryId` was opened: `away`, on a page of the shop's own; or elsewhere, and this page `stays`. */
  clicked(productId, queryId, {away = false, stays = false} = {}) {
    if (!stays) this.#leave();
    this.#tell({type: "click", product_id: productId, query_id: queryId});
    if (!this.consent.given || !queryId) return;
    rememberList(productId, queryId);
    if (away) keep(AWAY, {product_id: productId, query_id: queryId, at: Date.now()}, "sessionStorage");
  }

  /** The address `url` of a product's own page, with the list `queryId` in it that it is opened from where that may be told. */
  linked(url, queryId) {
    return this.consent.given ? withList(url, queryId) : url;
  }

  /** Its page is looked at from now on; the page before it is not any more. The list may be known from the address or from before. */
  looking(productId, queryId = this.#listOf(productId)) {
    this.#leave();
    if (this.consent.given && queryId) rememberList(productId, queryId);
    this.visit = {about: {product_id: productId, query_id: queryId}, began: performance.now(), since: document.hidden ? null : performance.now()};
  }

  /** The shopper is back among the results. */
  left() {
    if (!this.visit) return;
    const {about, began} = this.visit;
    this.#leave();
    this.#tell({type: "return", ...about, dwell_ms: wholeMs(performance.now() - began)});
  }

  /** The results are here again: whoever went from them to a page of the shop's own has come back. */
  arrived() {
    const away = recall(AWAY, "sessionStorage");
    forget(AWAY);
    if (away) this.#tell({type: "return", product_id: away.product_id, query_id: away.query_id, dwell_ms: wholeMs(Date.now() - away.at)});
  }

  /** {quantity, price, currency, queryId} are known or not; without a list, the one the product was opened from counts. */
  addedToCart(productId, known = {}) {
    this.#did("add_to_cart", productId, known);
  }

  wishlisted(productId, known = {}) {
    this.#did("wishlist", productId, known);
  }

  /** Stars from 1 to 5, or a value from -1 to 1. */
  rated(productId, {stars, value, queryId} = {}) {
    this.#tell({type: "rating", product_id: productId, query_id: queryId ?? listOfProduct(productId), stars, value});
  }

  /** An order of `items`: [{productId, quantity, price, queryId}], each credited to the list it was opened from. */
  purchased({currency, items}) {
    this.#tell({type: "purchase", currency, items: items.map(({productId, quantity = 1, price, queryId}) =>
      defined({product_id: productId, query_id: queryId ?? listOfProduct(productId), quantity, price}))});
  }

  /** Resolves when what happened so far has arrived, or soon after: a refinement may count it. */
  settled() {
    return this.outbox.settled();
  }

  /** The address says of the first product that is looked at which list it was opened from. */
  #listOf(productId) {
    const queryId = this.cameFrom ?? listOfProduct(productId);
    this.cameFrom = null;
    return queryId;
  }

  #exposure(columns) {
    return new Exposure((queryId, items) => this.#tell({type: "exposure", query_id: queryId, columns: columns(), items}));
  }

  #did(type, productId, {quantity, price, currency, queryId}) {
    this.#tell({type, product_id: productId, query_id: queryId ?? listOfProduct(productId), quantity, price, currency});
  }

  #tell(event) {
    if (this.consent.given) this.outbox.add(defined({...event, ...this.asker}));
  }

  #leave() {
    this.#look();
    this.visit = null;
  }

  /** Note how long the page was visible since that was last noted. */
  #look() {
    if (!this.visit) return;
    const seen = this.visit.since === null ? 0 : wholeMs(performance.now() - this.visit.since);
    this.visit.since = document.hidden ? null : performance.now();
    if (seen > 0) this.#tell({type: "dwell", ...this.visit.about, dwell_ms: seen});
  }

  /** The page is hidden or left, perhaps for good: what is known is sent while there is time. */
  #pause() {
    this.#watch(false);
    for (const exposure of [this.results, this.strip]) exposure.flush();
    this.#look();
    if (this.visit) this.visit.since = null;
    if (this.consent.given) this.outbox.leave();
  }

  #resume() {
    if (document.hidden) return;
    this.#watch();
    if (this.visit && this.visit.since === null) this.visit.since = performance.now();
    if (this.consent.given) this.outbox.resume();
  }

  #watch(visible = !document.hidden) {
    this.results.watch(visible && this.consent.given && !this.covered);
    this.strip.watch(visible && this.consent.given && !this.stripCovered);
  }

  #turned(given) {
    this.#watch();
    if (given) {
      this.cameFrom ??= takeList();
      this.outbox.resume();
      if (this.visit) Object.assign(this.visit, {began: performance.now(), since: document.hidden ? null : performance.now()});
    } else {
      for (const exposure of [this.results, this.strip]) exposure.forget();
      this.outbox.drop();
    }
  }
}

/** What is known of `fields`. */
function defined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}

function deviceOf() {
  return matchMedia("(max-width: 40rem)").matches ? "mobile" : "desktop";
}
