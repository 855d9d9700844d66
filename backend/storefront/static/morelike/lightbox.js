/* The lightbox: a picture as large as the window allows, on which a shopper draws what is meant. */

import {Boxes} from "./boxes.js";
import {h, icon, iconButton} from "./elements.js";
import {picture} from "./grid.js";

export class Lightbox {
  /** `onparts(parts)` is called with [{value, place, box}] once what was drawn shall count. */
  constructor(texts, {client, onparts}) {
    Object.assign(this, {texts, client, onparts});
    this.frame = h("div", {class: "frame", tabindex: "-1"});
    this.hint = h("p", {class: "lightbox-hint", id: "lightbox-hint"});
    this.more = this.#choice(1, "like", texts.moreOfThis);
    this.less = this.#choice(-1, "dislike", texts.lessOfThis);
    this.remove = iconButton("trash", texts.removeBox, () => this.boxes.remove());
    this.apply = h("button", {type: "button", class: "button primary", onclick: () => this.#done()}, texts.showMe);
    this.element = h("dialog", {
      class: "lightbox", "aria-labelledby": "lightbox-title", "aria-describedby": "lightbox-hint",
      onclick: (event) => event.target === this.element && this.close(),
    },
    h("div", {class: "lightbox-head"}, h("h2", {id: "lightbox-title"}, texts.markPart),
      iconButton("close", texts.close, () => this.close())),
    h("div", {class: "lightbox-stage"}, this.frame),
    h("div", {class: "lightbox-foot"}, this.hint,
      h("div", {class: "lightbox-tools"},
        h("button", {type: "button", class: "button", onclick: () => this.boxes.add()}, icon("plus"), texts.addBox),
        h("span", {class: "choices", role: "group", "aria-label": texts.whatOfIt}, this.more, this.less), this.remove, this.apply)));
  }

  /** Open on a picture, at `source`, which is number `place` among all of its product. */
  open(source, place, title) {
    this.place = place;
    const shown = picture(source, {client: this.client, alt: title, sizes: "100vw", widths: [640, 1024], eager: true, texts: this.texts});
    this.frame.replaceChildren(shown);
    this.boxes = new Boxes(this.texts, this.frame, () => this.#show());
    this.#show();
    this.element.showModal();
  }

  close() {
    if (this.element.open) this.element.close();
  }

  #choice(value, name, label) {
    return h("button", {type: "button", class: `choice ${name}`, "aria-pressed": "false", onclick: () => this.boxes.label(value)}, icon(name), label);
  }

  #show() {
    const {all, chosen} = this.boxes;
    this.more.disabled = this.less.disabled = this.remove.disabled = chosen === null;
    this.more.setAttribute("aria-pressed", String(chosen?.value === 1));
    this.less.setAttribute("aria-pressed", String(chosen?.value === -1));
    this.apply.disabled = all.length === 0;
    this.hint.textContent = all.length === 0 ? this.texts.drawHint : this.texts.drawnHint;
  }

  #done() {
    const parts = this.boxes.all.map(({value, corners}) => ({value, place: this.place, box: corners.map((one) => Number(one.toFixed(4)))}));
    this.close();
    this.onparts(parts);
  }
}
