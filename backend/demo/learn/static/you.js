/* The visitor as one shopper among the others: a search on record, and the events that a shop's page sends of it. */

import {call} from "./elements.js";

const id = (kind) => `you-${kind}-${crypto.randomUUID()}`;

export class You {
  /** `dialog` shows a product; `on` is told of each event that was taken. */
  constructor(dialog, on) {
    this.dialog = dialog;
    this.on = on;
    this.units = {shopper_id: stored("shopper"), session_id: id("session")};
    this.query = null;
    this.done = {clicks: 0, carts: 0};
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.querySelector(".cart").addEventListener("click", () => this.cart());
    dialog.addEventListener("close", () => this.left());
  }

  /** The list of `text` as it is served now, on record; its hits as the other grids have them, graded as in `known`. */
  async search(text, known) {
    const limit = Math.max(1, known.length);
    const grades = new Map(known.map(({product_id, grade}) => [product_id, grade]));
    const context = {query_type: "text", surface: "web", layout: "grid", columns: 4, device: "desktop", locale: navigator.language};
    const answer = await call("POST", "/v1/search", {text, limit, ...context, ...this.units});
    this.query = answer.query_id;
    clearTimeout(this.exposure);  // what was replaced within a second was not seen
    const items = answer.hits.map(({product_id}) => ({product_id, visible_share: 1, visible_ms: 1000}));
    if (items.length) this.exposure = setTimeout(() => this.send("exposure", {query_id: this.query, items, columns: 4}), 1000);
    return answer.hits.map(({product_id, product: {title, captions, image, price, currency}}) =>
      ({product_id, title, caption: captions[0] ?? "", image, price, currency, grade: grades.get(product_id) ?? null}));
  }

  open(hit) {
    const {dialog} = this;
    this.opened = {hit, query: this.query, at: performance.now()};
    dialog.querySelector("img").src = hit.image ? `${hit.image}?w=640` : "";
    dialog.querySelector("h2").textContent = hit.caption || hit.title;
    dialog.querySelector(".price").textContent = hit.price === null ? "" : new Intl.NumberFormat("en", {style: "currency", currency: hit.currency ?? "EUR"}).format(hit.price);
    dialog.querySelector(".cart").disabled = false;
    dialog.showModal();
    this.done.clicks += 1;
    this.send("click", {query_id: this.query, product_id: hit.product_id});
  }

  cart() {
    const {hit, query} = this.opened;
    this.dialog.querySelector(".cart").disabled = true;
    this.done.carts += 1;
    this.send("add_to_cart", {query_id: query, product_id: hit.product_id, quantity: 1, price: hit.price ?? undefined, currency: hit.currency ?? undefined});
    this.dialog.close();
  }

  left() {
    const {hit, query, at} = this.opened;
    const about = {query_id: query, product_id: hit.product_id, dwell_ms: Math.round(performance.now() - at)};
    this.send("dwell", about);
    this.send("return", about);
  }

  async send(type, said) {
    const now = new Date().toISOString();
    const event = {message_id: id("m"), type, timestamp: now, ...this.units, surface: "web", device: "desktop", ...said};
    const answer = await call("POST", "/v1/events", {batch: [event], sent_at: now}).catch((error) => ({error}));
    this.on(this.done, answer.error ?? null, answer.results?.[0]);
  }
}

function stored(kind) {
  const name = `morelike-learn-${kind}`;
  const known = localStorage.getItem(name) ?? id(kind);
  localStorage.setItem(name, known);
  return known;
}
