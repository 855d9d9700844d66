/* The search box: words, a picture and a product, alone or together. */

import {safeUrl} from "./client.js";
import {h, icon, iconButton} from "./elements.js";
import {carried} from "./picture.js";

const TYPING_PAUSE_MS = 220;
const REST_MS = 1200;  // who looks at the results for so long has searched, Enter or not

export class Box {
  /** `on` has: type(text), rest(text), commit(text), carried({file|url|productId}), drop_picture(), drop_product(), listen(), deafen(). */
  constructor(texts, on, {hears}) {
    this.texts = texts;
    this.on = on;
    this.chips = h("span", {class: "box-chips"});
    this.input = h("input", {
      type: "search", class: "box-input", name: "q", autocomplete: "off", enterkeyhint: "search", maxlength: "1000",
      placeholder: texts.placeholder, "aria-label": texts.searchLabel, oninput: () => this.#typed(),
    });
    this.file = h("input", {
      type: "file", accept: "image/*", hidden: true, tabindex: "-1", "aria-label": texts.pickPicture,
      onchange: () => this.#picked(),
    });
    this.typing = false;
    this.notice = h("p", {class: "box-notice", role: "status"});
    this.microphone = iconButton("microphone", texts.speak, () => on.listen(), {hidden: !hears, "aria-pressed": "false", class: "icon-button microphone"});
    this.clear = iconButton("close", texts.clearText, () => this.#cleared(), {hidden: true});
    const pick = iconButton("camera", texts.pickPicture, () => this.file.click(), {"data-pick": true});
    this.element = h("form", {class: "box", role: "search", "aria-label": texts.searchLabel,
      onsubmit: (e) => this.#submit(e), onkeydown: (e) => e.key === "Escape" && on.deafen()},
      icon("search"), this.chips, this.input, this.clear, this.microphone, pick, this.file,
      h("button", {type: "submit", class: "button primary"}, texts.search),
      h("span", {class: "box-drop", "aria-hidden": "true"}, icon("camera"), texts.dropHere));
  }

  /** Show `state`; what is being typed is not overwritten. */
  show(state, client) {
    if (!this.typing && this.input.value.trim() !== state.text.trim()) this.input.value = state.text;
    this.clear.hidden = !this.input.value;
    const chips = [];
    if (state.picture) {
      const preview = safeImage(state.picture.preview || state.picture.url);
      chips.push(this.#chip(preview, this.texts.yourPicture, () => this.on.drop_picture()));
    }
    if (state.product) {
      const label = `${this.texts.like} ${state.product.title || state.product.id}`;
      chips.push(this.#chip(client.imageUrl(state.product.image, 160), label, () => this.on.drop_product()));
    }
    this.chips.replaceChildren(...chips);
    this.chips.hidden = chips.length === 0;
  }

  /** The microphone is on, or no longer; `able` is whether it can be switched on again. */
  listen(whether, able) {
    this.element.classList.toggle("listening", whether);
    this.microphone.setAttribute("aria-pressed", String(whether));
    this.microphone.hidden = !able;
    this.input.placeholder = whether ? this.texts.listening : this.texts.placeholder;
    this.say(whether ? this.texts.speakNow : "");
    if (whether) this.input.value = "";
    this.clear.hidden = !this.input.value;
  }

  /** Show what was heard so far, and search it as if it were typed. */
  overhear(text) {
    this.input.value = text;
    this.#typed();
  }

  /** One sentence under the box. */
  say(text) {
    this.notice.textContent = text;
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** Forget a search that typing had planned, because another one takes its place. */
  settle() {
    this.typing = false;
    clearTimeout(this.timer);
  }

  /** Let pictures, addresses and products be dropped anywhere on `area`. */
  acceptDrops(area) {
    let depth = 0;
    const welcome = (event) => [...event.dataTransfer.types].some((type) =>
      type === "Files" || type === "text/uri-list" || type === "application/x-morelike-product");
    const hover = (change) => {
      depth = Math.max(0, depth + change);
      this.element.classList.toggle("dropping", depth > 0);
    };
    area.addEventListener("dragenter", (event) => welcome(event) && hover(1));
    area.addEventListener("dragleave", (event) => welcome(event) && hover(-1));
    area.addEventListener("dragover", (event) => welcome(event) && event.preventDefault());
    area.addEventListener("drop", (event) => {
      if (!welcome(event)) return;
      event.preventDefault();
      hover(-Infinity);
      const found = carried(event.dataTransfer);
      if (found) this.on.carried(found);
    });
  }

  #chip(image, label, onremove) {
    return h("span", {class: "box-chip"},
      image && h("img", {src: image, alt: "", width: "28", height: "28"}),
      h("span", {class: "box-chip-label", title: label}, label),
      iconButton("close", `${this.texts.remove}: ${label}`, onremove));
  }

  #typed() {
    this.clear.hidden = !this.input.value;
    this.settle();
    this.typing = true;
    this.timer = setTimeout(() => {
      this.on.type(this.input.value);
      this.timer = setTimeout(() => this.on.rest(this.input.value), REST_MS);
    }, TYPING_PAUSE_MS);
  }

  #cleared() {
    this.input.value = "";
    this.settle();
    this.on.commit("");
    this.input.focus();
  }

  #submit(event) {
    event.preventDefault();
    this.settle();
    this.on.commit(this.input.value);
  }

  #picked() {
    const [file] = this.file.files;
    if (file) this.on.carried({file});
    this.file.value = "";  // so that the same file can be picked again
  }
}

/** A picture's preview: only pictures and web addresses are shown. */
export function safeImage(source) {
  return source?.startsWith("data:image/") ? source : safeUrl(source, location.href);
}
