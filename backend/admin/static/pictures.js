/* Pictures that were given up on: what can still be seen of them, why, and once more. */

import {call} from "./api.js";
import {count, h, icon} from "./elements.js";

const PAGE = 24;

export class Pictures {
  constructor(place, said, guarded) {
    Object.assign(this, {place, said, guarded, pages: 1});
  }

  async show() {
    const page = await call("GET", `/v1/images?state=parked&limit=${Math.min(500, PAGE * this.pages)}`);
    const seen = JSON.stringify(page);
    if (seen === this.seen) return;
    this.seen = seen;
    this.place.replaceChildren(...(page.total ? this.#all(page) : [h("p", {class: "card empty"}, "None. Every picture that the catalogue names was fetched and could be read, or is on its way.")]));
  }

  #all({images, total, cursor}) {
    const more = () => {
      this.pages += 1;
      return this.show();
    };
    return [
      h("div", {class: "filters"}, h("p", {class: "soft"}, `${count(total, "picture")}. Their products are found by their words.`),
        h("button", {type: "button", class: "button small", onclick: () => this.#retry(null)}, "Try all again")),
      h("ul", {class: "pictures", role: "list"}, images.map((one) => this.#one(one))),
      cursor !== null && h("button", {type: "button", class: "button", onclick: more}, "Show more"),
    ].filter(Boolean);
  }

  #one(image) {
    return h("li", {class: "picture card"}, preview(image.source),
      h("div", {class: "picture-text"},
        h("strong", {class: "breaks"}, image.product_id),
        h("p", {class: "trouble"}, image.error ?? "No reason is known."),
        h("p", {class: "soft breaks"}, image.source),
        h("div", {class: "picture-foot"}, h("small", {}, count(image.attempts, "try", "tries")),
          h("button", {type: "button", class: "button small", "aria-label": `Try again: ${image.product_id}`, onclick: () => this.#retry([image.id])}, "Try again"))));
  }

  async #retry(ids) {
    const done = await this.guarded("try pictures again", () => call("POST", "/v1/images:retry", {ids}));
    if (!done) return;
    this.said(`${count(done.retried, "picture")} will be tried again.`);
    this.seen = null;
    await this.show();
  }
}

/** What a browser can show of it: many are refused for their size or their host and look well here. */
function preview(source) {
  const none = () => h("div", {class: "preview none"}, icon("picture"));
  const address = source.startsWith("blob:") ? `/images/${source.slice(5)}` : source;
  if (!/^(https:\/\/|\/images\/[0-9a-f]{64}$)/.test(address)) return none();
  const picture = h("img", {class: "preview", src: address, alt: "", loading: "lazy", referrerpolicy: "no-referrer", width: "96", height: "96"});
  picture.addEventListener("error", () => picture.replaceWith(none()));
  return picture;
}
