/* The frame of the search: box, bar, filters and results, and which of them is shown when. */

import {Box, safeImage} from "./box.js";
import {h, icon} from "./elements.js";
import {Filters, chipsOf} from "./filters.js";
import {moves} from "./glide.js";
import {Grid} from "./grid.js";
import {emptyMessage, failedMessage} from "./messages.js";
import {countOf, money} from "./texts.js";
import {Trail} from "./trail.js";
import {judgements} from "./turns.js";
import {Why} from "./why.js";

/** The style sheet of every search on the page; STYLE is style.css, put in when the file is served. */
const SHEET = new CSSStyleSheet();
SHEET.replaceSync(STYLE);

const SLOW_MS = 2000;
const OUT_OF_SIGHT_PX = 60;

export class View {
  constructor(texts, {client, locale, examples, page, facets, hears, box, grid, trail, on}) {
    Object.assign(this, {texts, client, locale, facets, page, on});
    this.box = new Box(texts, box, {hears});
    this.filters = new Filters(texts, {locale, onchange: on.filters});
    this.grid = new Grid(texts, {client, locale, on: grid, hrefOf: grid.hrefOf});
    this.why = new Why(texts, {client});
    this.trail = new Trail(texts, {client, on: trail});
    this.message = h("div", {class: "message-place"});
    this.status = h("p", {class: "status", role: "status"});
    this.moreButton = h("button", {type: "button", class: "button more", hidden: true, onclick: on.more}, texts.more);
    this.end = h("p", {class: "end"});
    this.sort = this.#sortSelect();
    this.toggle = this.#filterToggle();
    this.above = h("button", {type: "button", class: "above", hidden: true, onclick: () => this.toTop()}, icon("up"), texts.turnCame);
    // back at the top, nobody needs to be led there
    new IntersectionObserver(([entry]) => entry.isIntersecting && (this.above.hidden = true)).observe(this.trail.element);
    this.results = h("div", {class: "results"}, this.trail.element, this.message, this.grid.element, this.end, this.moreButton, this.above);
    this.layout = h("div", {class: "layout", hidden: true}, this.filters.element, this.results);
    this.bar = h("div", {class: "bar"}, h("div", {class: "bar-words"}, this.status, h("slot", {name: "note"})), h("div", {class: "bar-tools"}, this.toggle, this.sort), this.filters.chips);
    this.element = h("div", {class: "shop"},
      h("button", {type: "button", class: "skip", onclick: () => this.grid.focus(0)}, texts.skip),
      this.box.element, this.box.notice, this.#examples(examples, box.commit), this.bar, this.layout, page.element, page.lightbox.element, this.why.element);
  }

  /** Put the search into `target` and listen to the whole page for drops, pastes and the / key. */
  attach(target) {
    const root = target.shadowRoot ?? target.attachShadow({mode: "open", delegatesFocus: false});
    root.adoptedStyleSheets = [SHEET];
    root.replaceChildren(this.element);
    this.box.acceptDrops(this.element);
    document.addEventListener("paste", (event) => this.#pasted(event));
    document.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** A search has begun; what is shown stays, a little paler, until the answer comes. Call what is returned when it has. */
  busy(keep) {
    this.layout.hidden = false;
    this.element.setAttribute("aria-busy", "true");
    this.#say(this.texts.looking);
    const slow = setTimeout(() => this.#say(this.texts.stillLooking), SLOW_MS);
    if (!keep) {
      this.trail.hide();
      this.message.replaceChildren();
      this.#endWith("", false);
      this.grid.showSkeletons(8);
    }
    return () => clearTimeout(slow);
  }

  /** Show an answer. `turn` is what led to it, where it is a refined one; with `gliding` the cards are seen to move. */
  show(state, answer, hits, {turn = null, gliding = false} = {}) {
    this.#settle();
    const currency = hits.find((hit) => hit.product.currency)?.product.currency ?? null;
    const query = JSON.stringify([state.text, state.picture?.id ?? state.picture?.url, state.product?.id]);
    this.filters.show(state.filters, answer.facets ?? {}, this.facets, currency, query);
    this.#showTools(state);
    this.#say(countOf(answer.total, answer.total_is === "estimate", this.texts, this.locale));
    this.trail.show(state, this.#beginning(state), turn?.decision);
    this.grid.show(hits, {turn, gliding});
    this.above.hidden = !gliding || this.results.getBoundingClientRect().top > -OUT_OF_SIGHT_PX;
    this.message.replaceChildren();
    if (hits.length === 0) {
      const chips = chipsOf(state.filters, this.texts, (value) => money(value, currency, this.locale));
      this.message.append(emptyMessage(this.texts, chips, this.on.filters));
    }
    this.#endWith(answer.cursor || hits.length <= 8 ? "" : this.texts.end, Boolean(answer.cursor));
  }

  /** Show what was liked and disliked, also what is not sent yet. */
  judged(state, pending) {
    const all = judgements(state, pending);
    this.trail.judged(state, pending);
    this.grid.judged(all);
    this.page.judged(all);
  }

  /** To where the results begin. */
  toTop() {
    this.above.hidden = true;
    this.results.scrollIntoView({behavior: moves() ? "smooth" : "instant", block: "start"});
    this.grid.focus(0, {preventScroll: true});
  }

  fail(error, seconds) {
    this.#settle();
    this.trail.hide();
    this.grid.show([]);
    this.#say("");
    this.#endWith("", false);
    this.layout.hidden = false;
    this.message.replaceChildren(failedMessage(this.texts, error, this.on.retry, seconds));
  }

  loadingMore() {
    this.moreButton.disabled = true;
    this.moreButton.textContent = this.texts.loadingMore;
  }

  /** The next page did not come: what is there stays, and the button tries again. */
  moreFailed(error) {
    this.#endWith(error.kind === "offline" ? this.texts.offlineTitle : error.detail, true);
    this.moreButton.textContent = this.texts.retry;
  }

  #settle() {
    this.element.removeAttribute("aria-busy");
  }

  #showTools(state) {
    this.sort.querySelector("select").value = state.sort;
    const {count} = this.filters;
    this.toggle.querySelector(".count").textContent = count ? String(count) : "";
  }

  /** What a search was for, as the first step of its trail. */
  #beginning({text, picture, product}) {
    const image = picture ? safeImage(picture.preview || picture.url) : this.client.imageUrl(product?.image, 320);
    const words = text.trim() ? `“${text.trim()}”` : picture ? this.texts.yourPicture : product ? `${this.texts.like} ${product.title || product.id}` : this.texts.everything;
    return h("span", {class: "step-part"}, image && h("img", {src: image, alt: "", width: "26", height: "26"}), h("span", {class: "step-words"}, words));
  }

  #say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  #endWith(text, more) {
    this.end.textContent = text;
    this.moreButton.hidden = !more;
    this.moreButton.disabled = false;
    this.moreButton.textContent = this.texts.more;
  }

  #sortSelect() {
    const options = Object.entries(this.texts.sorts).map(([value, label]) => h("option", {value}, label));
    return h("label", {class: "sort"}, h("span", {}, this.texts.sort),
      h("select", {onchange: (event) => this.on.sort(event.target.value)}, options));
  }

  /** Where there is no room beside the results, the filters fold away behind this button. */
  #filterToggle() {
    const flip = () => {
      const open = this.element.classList.toggle("filters-open");
      this.toggle.setAttribute("aria-expanded", String(open));
    };
    return h("button", {type: "button", class: "button filter-toggle", "aria-expanded": "false", "aria-controls": "filters", onclick: flip},
      icon("filters"), this.texts.filters, h("span", {class: "count"}));
  }

  #examples(examples, commit) {
    if (examples.length === 0) return null;
    return h("p", {class: "examples"}, h("span", {}, this.texts.tryThese), examples.map((text) =>
      h("button", {type: "button", class: "example", onclick: () => commit(text)}, text)));
  }

  #pasted(event) {
    const inOurs = event.composedPath().includes(this.element);
    if (!inOurs && isEditable(event.composedPath()[0])) return;
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    this.box.on.carried({file});
  }

  #pressed(event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isEditable(event.composedPath()[0])) return;
    event.preventDefault();
    this.box.focus();
  }
}

function isEditable(element) {
  return element instanceof HTMLElement && (element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName));
}
