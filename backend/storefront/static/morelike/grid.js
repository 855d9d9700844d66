/* The grid of products: cards that glide to their places, thumbs, skeletons, and the arrows of the keyboard. */

import {h, icon} from "./elements.js";
import {fade, glide, moves, placesOf} from "./glide.js";
import {Move} from "./move.js";
import {money} from "./texts.js";
import {Thumbs} from "./thumbs.js";

export class Grid {
  /** `on` has: open(hit), similar(product), judge(product, value); `hrefOf(hit)` is where a card leads. */
  constructor(texts, {client, locale, on, hrefOf}) {
    Object.assign(this, {texts, client, locale, on, hrefOf});
    this.cards = new Map();
    this.element = h("ul", {class: "grid", role: "list", "aria-label": texts.results, onkeydown: (event) => this.#pressed(event)});
  }

  /**
   * Show exactly `hits`. A card whose product did not change stays the same element, so its picture does not blink.
   * `turn` is what led here, {said, known}: it tells moved cards why; with `gliding` they are seen to move.
   */
  show(hits, {turn = null, gliding = false} = {}) {
    const before = gliding && moves() ? placesOf(this.elements) : null;
    const gone = this.elements;
    const focused = this.element.getRootNode().activeElement;
    const place = [...this.element.children].indexOf(focused?.closest(".card"));
    const cards = new Map();
    for (const hit of hits) {
      const facts = JSON.stringify([hit.product, this.hrefOf(hit)]);
      const old = this.cards.get(hit.product_id);
      const card = old?.facts === facts ? {...old, hit} : {facts, hit, ...this.#card(hit, cards.size)};
      card.move.show(hit, turn);
      cards.set(hit.product_id, card);
      gone.delete(hit.product_id);
    }
    this.cards = cards;
    this.element.replaceChildren(...[...cards.values()].map((card) => card.element));
    this.element.hidden = hits.length === 0;
    if (before) {
      const flight = (this.flight = glide(before, this.elements));
      this.element.classList.add("gliding");
      flight.then(() => flight === this.flight && this.element.classList.remove("gliding"));
      fade(before, gone, this.element.parentElement);
    }
    if (place < 0) return;
    // whoever stood on a card by keyboard goes with it, and where it left, stays at its place
    if (focused.isConnected) focused.focus({preventScroll: true});
    else this.element.querySelectorAll(".card-link")[Math.min(place, cards.size - 1)]?.focus({preventScroll: true});
  }

  /** Show what was said of each product: id -> {value}. */
  judged(judgements) {
    for (const [id, card] of this.cards) {
      const value = judgements.get(id)?.value ?? 0;
      card.thumbs.show(value);
      card.element.classList.toggle("liked", value > 0);
      card.element.classList.toggle("disliked", value < 0);
    }
  }

  /** Grey shapes where products will be. */
  showSkeletons(count) {
    this.cards.clear();
    this.element.hidden = false;
    this.element.replaceChildren(...Array.from({length: count}, () => h("li", {class: "card skeleton", "aria-hidden": "true"},
      h("span", {class: "card-picture"}), h("span", {class: "line"}), h("span", {class: "line short"}))));
  }

  /** Focus the card at `index`. */
  focus(index = 0, options = {}) {
    this.element.querySelectorAll(".card-link")[index]?.focus(options);
  }

  /** The cards that are shown: product id -> element. */
  get elements() {
    return new Map([...this.cards].map(([id, card]) => [id, card.element]));
  }

  /** How many cards stand side by side; null while nothing is laid out. */
  get columns() {
    return this.element.offsetParent ? Math.min(20, getComputedStyle(this.element).gridTemplateColumns.split(" ").length) : null;
  }

  #card({product_id: id, product}, index) {
    const hit = () => this.cards.get(id).hit;
    const brief = {id, title: product.title, image: product.image};
    const move = new Move(this.texts, this.client);
    const link = h("a", {
      class: "card-link", href: this.hrefOf({product_id: id, product}), draggable: "true", "aria-keyshortcuts": "L D",
      onclick: (event) => this.on.open(hit(), event), onauxclick: (event) => event.button === 1 && this.on.open(hit(), event),
      ondragstart: (event) => event.dataTransfer.setData("application/x-morelike-product", id),
    },
    h("span", {class: "card-shown"}, this.#picture(product, index < 8), move.badge),
    h("span", {class: "card-text"},
      product.brand && h("span", {class: "card-brand"}, product.brand),
      h("span", {class: "card-title"}, product.title)));
    const more = h("button", {
      type: "button", class: "card-similar", "aria-label": `${this.texts.likeThis}: ${product.title}`, onclick: () => this.on.similar({id, ...product}),
    }, icon("similar"), h("span", {"aria-hidden": "true"}, this.texts.likeThis));
    const thumbs = new Thumbs(this.texts, product.title, (value) => this.on.judge(brief, value));
    const foot = h("div", {class: "card-foot"},
      h("span", {class: "card-price"}, h("span", {class: "price"}, money(product.price, product.currency, this.locale)), stock(product, this.texts)),
      thumbs.element);
    return {thumbs, move, element: h("li", {class: "card", "data-product": id}, link, more, foot, move.reason)};
  }

  #picture(product, eager) {
    return h("span", {class: "card-picture"}, picture(product.image, {
      client: this.client, alt: "", sizes: "(min-width: 60rem) 15rem, 45vw", widths: [320, 640], eager, texts: this.texts,
    }));
  }

  /** Arrows walk over the products, L likes the one they stand on and D dislikes it. */
  #pressed(event) {
    const links = [...this.element.querySelectorAll(".card-link")];
    const here = links.indexOf(event.target.closest(".card-link"));
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const {thumbs} = this.cards.get(links[here].parentElement.dataset.product);
    if (event.key.toLowerCase() === "l") return thumbs.up.click();
    if (event.key.toLowerCase() === "d") return thumbs.down.click();
    const columns = this.columns ?? 1;
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? links.length - 1 : step === undefined ? -1 : here + step;
    if (to < 0 || to >= links.length) return;
    event.preventDefault();
    links[to].focus();
  }
}

/** An image that keeps its square while it loads and says so when there is none. */
export function picture(source, {client, alt, sizes, widths, eager, texts}) {
  const src = client.imageUrl(source, widths[0]);
  const missing = () => h("span", {class: "no-picture"}, texts.noImage);
  if (!src) return missing();
  const srcset = widths.map((width) => `${client.imageUrl(source, width)} ${width}w`).join(", ");
  const image = h("img", {
    alt, width: "320", height: "320", loading: eager ? "eager" : "lazy", decoding: "async", draggable: "false",
    sizes, srcset, onerror: () => image.replaceWith(missing()),
  });
  image.src = src;
  return image;
}

/** Availability in words where it is not simply in stock. */
export function stock(product, texts) {
  const label = {out_of_stock: texts.soldOut, preorder: texts.preorder, backorder: texts.backorder}[product.availability];
  return label ? h("span", {class: "stock-note"}, label) : null;
}
