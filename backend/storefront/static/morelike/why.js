/* Why a list is as it is: what it was moved by, what each product weighed, and where was looked. */

import {h, icon, iconButton} from "./elements.js";
import {picture} from "./grid.js";
import {lightOf, warmCaption} from "./heat.js";
import {failedMessage} from "./messages.js";

export class Why {
  constructor(texts, {client}) {
    Object.assign(this, {texts, client});
    this.body = h("div", {class: "why-body"});
    this.element = h("dialog", {
      class: "why", "aria-labelledby": "why-title", onclick: (event) => event.target === this.element && this.close(),
    }, h("div", {class: "why-head"}, h("h2", {id: "why-title"}, texts.whyThese), iconButton("close", texts.close, () => this.close())), this.body);
  }

  /** Open on `answer`, a refined list; `known(id)` is what is known of a product: {title, image} or null. */
  async open(answer, known) {
    this.controller?.abort();
    const {signal} = (this.controller = new AbortController());
    this.body.replaceChildren(h("p", {class: "why-wait", "aria-busy": "true"}, this.texts.looking));
    if (!this.element.open) this.element.showModal();
    try {
      const explained = await this.client.explain(answer.query_id, {signal});
      this.body.replaceChildren(...this.#content(explained, answer.refine, known));
    } catch (error) {
      if (!signal.aborted) this.body.replaceChildren(failedMessage(this.texts, error, () => this.open(answer, known), error.retryAfter ?? 5));
    }
  }

  close() {
    this.controller?.abort();
    if (this.element.open) this.element.close();
  }

  #content(explained, refine, known) {
    const looked = explained.items.some((item) => item.image?.saliency || item.caption?.words);
    const items = explained.items.filter((item) => weights(item).length > 0 || item.image?.saliency);
    return [
      h("p", {class: "why-summary"}, this.#summary(explained)),
      refine && this.#closeness(refine.similarity_to_start),
      looked && this.#toggle(),
      items.length > 0 && h("ul", {class: "why-items", role: "list"}, items.map((item) => this.#item(item, known(item.product_id)))),
    ].filter(Boolean);
  }

  /** "This list was moved by what you liked and by your words “bigger eyes”." */
  #summary({strategy, decision, text}) {
    if (decision === "held") return this.texts.held;
    const reasons = strategy.split("+").map((name) => this.texts.strategies[name] ?? name);
    const said = this.texts.movedBy.replace("{reasons}", reasons.join(` ${this.texts.and} `)).replace("{text}", text ?? "");
    return decision === "blended" ? `${said} ${this.texts.blended}` : said;
  }

  #closeness(similarity) {
    const percent = Math.round(Math.max(0, similarity) * 100);
    return h("div", {class: "closeness"}, h("meter", {min: "0", max: "100", value: String(percent), "aria-label": this.texts.closeness}),
      h("span", {}, this.texts.closenessIs.replace("{percent}", String(percent))));
  }

  #toggle() {
    const flip = (event) => this.element.classList.toggle("cold", !event.target.checked);
    this.element.classList.remove("cold");
    return h("label", {class: "option why-toggle"}, h("input", {type: "checkbox", role: "switch", checked: true, onchange: flip}), h("span", {}, this.texts.whereLooked));
  }

  #item({product_id: id, image, caption, ...item}, known) {
    const title = known?.title ?? id;
    const shown = image && h("div", {class: "why-picture"},
      picture(image.src, {client: this.client, alt: title, sizes: "10rem", widths: [320, 640], texts: this.texts}), image.saliency && lightOf(image.saliency));
    return h("li", {class: "why-item"}, shown, h("div", {class: "why-text"}, h("h3", {}, title), this.#bars(item), caption && warmCaption(caption)));
  }

  #bars(item) {
    return h("div", {class: "why-bars"}, weights(item).map(([side, weight]) => {
      const label = this.texts[side === "towards" ? "towards" : "away"];
      const bar = h("span", {class: "why-bar"});
      bar.style.setProperty("--share", String(weight));
      return h("p", {class: side}, icon(side === "towards" ? "up" : "down"), h("span", {}, `${label} ${Math.round(weight * 100)} %`), bar);
    }));
  }
}

/** What a product weighed, as [side, share]: a judgement pulls one way, what was only shown may do both. */
function weights({pull, relevance, irrelevance}) {
  if (pull) return [[pull > 0 ? "towards" : "away", Math.abs(pull)]];
  return [["towards", relevance], ["away", irrelevance]].filter(([, share]) => share);
}
