/* Thumbs: what a shopper says of a product with one press. */

import {h, icon} from "./elements.js";

export class Thumbs {
  /** `on(value)` is called with 1, -1, or 0 where a press takes back what was said. */
  constructor(texts, title, on) {
    this.value = 0;
    const button = (value, name, label) => h("button", {
      type: "button", class: `thumb-button ${name}`, "aria-label": `${label}: ${title}`, "aria-pressed": "false", title: label,
      onclick: () => on(this.value === value ? 0 : value),
    }, icon(name));
    this.up = button(1, "like", texts.thumbUp);
    this.down = button(-1, "dislike", texts.thumbDown);
    this.element = h("span", {class: "thumbs-pair"}, this.up, this.down);
  }

  show(value) {
    this.value = value;
    this.up.setAttribute("aria-pressed", String(value > 0));
    this.down.setAttribute("aria-pressed", String(value < 0));
  }
}
