/* The product page: a dialog over the results, so that closing it finds them as they were. */

import {safeUrl} from "./client.js";
import {h, icon, iconButton} from "./elements.js";
import {picture, stock} from "./grid.js";
import {lightOver} from "./heat.js";
import {Lightbox} from "./lightbox.js";
import {failedMessage} from "./messages.js";
import {facetName, money} from "./texts.js";
import {Thumbs} from "./thumbs.js";

const MOST_SIMILAR = 12;  // side by side in one strip

export class ProductPage {
  /**
   * `on` has: close(), left(), open(hit, event, list), similar(product), judge(product, value), say({text, product, parts}), explain(id),
   * asker() who looks, beside(list, cards) when similar products are shown; `hrefOf(hit)` is where one of them leads.
   */
  constructor(texts, {client, locale, on, hrefOf}) {
    Object.assign(this, {texts, client, locale, on, hrefOf});
    this.body = h("div", {class: "product-body"});
    this.element = h("dialog", {
      class: "product", "aria-labelledby": "product-title",
      oncancel: (event) => {
        event.preventDefault();  // closed by going back, so that the address follows
        this.on.close();
      },
      onclick: (event) => event.target === this.element && this.on.close(),
    }, iconButton("close", texts.backToResults, () => this.on.close(), {class: "icon-button product-close"}), this.body);
    this.values = new Map();
    this.lightbox = new Lightbox(texts, {client, onparts: (parts) => this.on.say({product: this.#brief(this.product), parts})});
  }

  /** Open on `id`; `known` is what a card already knew, shown until the rest has come. */
  async open(id, known = null) {
    this.controller?.abort();
    const {signal} = (this.controller = new AbortController());
    this.id = id;
    this.field = null;
    if (known) this.#show({variants: [], images: [], captions: [], attributes: {}, ...known, id});
    else this.body.replaceChildren(h("div", {class: "product-wait", "aria-busy": "true"}, h("h2", {id: "product-title"}, this.texts.looking)));
    if (!this.element.open) this.element.showModal();
    this.element.scrollTop = 0;
    try {
      this.#show(await this.client.product(id, {signal}));
      const {hits, query_id: list} = await this.client.similar(id, {limit: MOST_SIMILAR, layout: "grid", columns: MOST_SIMILAR, ...this.on.asker(), signal});
      this.#showSimilar(hits.filter((hit) => hit.product_id !== id), list);
    } catch (error) {
      if (!signal.aborted) this.#failed(error, known);
    }
  }

  /** Show what was said of the product: id -> {value}. */
  judged(judgements) {
    this.values = judgements;
    this.thumbs?.show(judgements.get(this.id)?.value ?? 0);
  }

  close() {
    this.lightbox.close();
    this.controller?.abort();
    this.id = null;
    if (!this.element.open) return;
    this.element.close();
    this.on.left();
  }

  #failed(error, known) {
    const message = failedMessage(this.texts, error, () => this.open(this.id, known), error.retryAfter ?? 5);
    message.querySelector("h2").id = "product-title";
    this.body.replaceChildren(message);
  }

  #show(product) {
    this.product = product;
    const typing = this.field?.matches(":focus");
    this.strip = h("section", {class: "similar", "aria-label": this.texts.similar});
    this.body.replaceChildren(h("div", {class: "product-main"}, this.#gallery(product), this.#facts(product)), this.strip);
    if (typing) this.field.focus();  // the rest of the product came while somebody was writing
  }

  #gallery(product) {
    // a picture keeps the number it has among all of the product's, also those that could not be fetched
    const all = product.images.length > 0 ? product.images : [{url: product.image}];
    const sources = all.map(({url}, index) => ({url, index})).filter(({url}) => url);
    const stage = h("div", {class: "stage"});
    const show = (at) => {
      const {url, index} = sources[at] ?? {url: null, index: 0};
      stage.replaceChildren(picture(url, {
        client: this.client, alt: product.title, sizes: "(min-width: 48rem) 28rem, 90vw", widths: [640, 1024], eager: true, texts: this.texts,
      }));
      if (url) stage.append(this.#stageTools(product, sources, at, show));
      buttons.forEach((button, place) => button.setAttribute("aria-current", String(place === at)));
    };
    const buttons = sources.map(({url}, at) => h("button", {
      type: "button", class: "thumb", "aria-label": `${this.texts.image} ${at + 1}`, onclick: () => show(at),
    }, h("img", {src: this.client.imageUrl(url, 160), alt: "", width: "64", height: "64", loading: "lazy"})));
    show(0);
    this.note = h("p", {class: "stage-note", role: "status"});
    return h("div", {class: "gallery"}, stage, this.note, sources.length > 1 && h("div", {class: "thumbs"}, buttons));
  }

  /** What can be done with the picture that is shown: mark a part of it, or see where a summarizer looks. */
  #stageTools(product, sources, at, show) {
    const {url, index} = sources[at];
    const look = h("button", {type: "button", class: "button small", "aria-pressed": "false", hidden: this.blind, onclick: () => {
      if (look.getAttribute("aria-pressed") === "true") show(at);
      else this.#light(product, sources, show);
    }}, icon("eye"), this.texts.whereItLooks);
    const mark = h("button", {type: "button", class: "button small", onclick: () => this.lightbox.open(url, index, product.title)},
      icon("part"), this.texts.markHint);
    return h("div", {class: "stage-tools"}, look, mark);
  }

  /** Show the picture that stands for the product, with light where a summarizer looks. */
  async #light(product, sources, show) {
    this.note.textContent = this.texts.looking;
    const image = await this.on.explain(product.id).catch((error) => ({error}));
    if (this.id !== product.id) return;
    this.note.textContent = image?.error?.detail ?? "";
    if (image?.error) return;
    this.blind = !image?.saliency;
    const at = this.blind ? -1 : sources.findIndex(({url}) => url.includes(image.content_hash));
    if (at < 0) {
      this.note.textContent = this.texts.notLooked;
      return;
    }
    show(at);
    const stage = this.body.querySelector(".stage");
    stage.querySelector("[aria-pressed]").setAttribute("aria-pressed", "true");
    stage.querySelector("[aria-pressed]").focus();
    stage.querySelector("img").after(await lightOver(stage.querySelector("img"), image.saliency));
  }

  #facts(product) {
    const url = safeUrl(product.url, this.client.url);
    const price = money(product.price, product.currency, this.locale);
    const inStock = stock(product, this.texts) || h("span", {class: "stock-note good"}, this.texts.available);
    return h("div", {class: "facts"},
      h("p", {class: "crumbs"}, [...(product.category || []), product.brand].filter(Boolean).join(" · ")),
      h("h2", {id: "product-title", tabindex: "-1"}, product.title),
      h("p", {class: "product-price"}, price && h("span", {class: "price"}, price), inStock),
      product.description && h("p", {class: "description"}, product.description),
      h("div", {class: "product-actions"},
        h("button", {type: "button", class: "button primary", onclick: () => this.on.similar(this.#brief(product))}, icon("similar"), this.texts.likeThis),
        url && h("a", {class: "button", href: url, rel: "noopener"}, this.texts.visit, icon("out")), this.#thumbs(product)),
      this.#but(product),
      this.#variants(product), this.#attributes(product), this.#captions(product));
  }

  #thumbs(product) {
    this.thumbs = new Thumbs(this.texts, product.title, (value) => this.on.judge(this.#brief(product), value));
    this.thumbs.show(this.values.get(product.id)?.value ?? 0);
    return this.thumbs.element;
  }

  #but(product) {
    const field = (this.field ??= h("input", {
      type: "text", class: "but-input", name: "but", autocomplete: "off", enterkeyhint: "search", maxlength: "1000", required: true,
      placeholder: this.texts.likeThisBut, "aria-label": this.texts.likeThisBut,
    }));
    const say = (event) => {
      event.preventDefault();
      this.on.say({product: this.#brief(product), text: field.value});
    };
    return h("form", {class: "but", onsubmit: say}, icon("similar"), field, h("button", {type: "submit", class: "button small"}, this.texts.refine));
  }

  #brief(product) {
    return {id: product.id, title: product.title, image: product.image || product.images.find((image) => image.url)?.url || null};
  }

  #variants({title, variants, currency}) {
    if (variants.length < 2) return null;
    // shops repeat the product's title in each variant's
    const nameOf = (variant) => (variant.title || "").replace(title, "").replace(/^[\s/,·-]+/, "")
      || Object.values(variant.attributes).flat().join(", ") || variant.sku;
    return h("section", {class: "variants"}, h("h3", {}, this.texts.variants), h("ul", {role: "list"}, variants.map((variant) =>
      h("li", {class: variant.availability === "out_of_stock" ? "variant gone" : "variant"},
        h("span", {}, nameOf(variant)),
        h("span", {class: "variant-price"}, stock(variant, this.texts) || money(variant.price, currency, this.locale))))));
  }

  #attributes({attributes}) {
    const rows = Object.entries(attributes || {});
    if (rows.length === 0) return null;
    return h("section", {}, h("h3", {}, this.texts.details), h("dl", {class: "attributes"}, rows.map(([name, value]) =>
      h("div", {}, h("dt", {}, facetName(`attributes.${name}`, this.texts)), h("dd", {}, [value].flat().join(", "))))));
  }

  #captions({captions}) {
    if (!captions || captions.length === 0) return null;
    return h("section", {}, h("h3", {}, this.texts.captions), h("ul", {class: "captions"}, captions.map((text) => h("li", {}, text))));
  }

  #showSimilar(hits, list) {
    if (hits.length === 0) return;
    const cards = hits.map((hit) => h("li", {class: "mini", "data-product": hit.product_id}, h("a", {
      href: this.hrefOf(hit), onclick: (event) => this.on.open(hit, event, list), onauxclick: (event) => event.button === 1 && this.on.open(hit, event, list),
    }, h("span", {class: "card-picture"}, picture(hit.product.image, {client: this.client, alt: "", sizes: "10rem", widths: [160, 320], texts: this.texts})),
    h("span", {class: "card-title"}, hit.product.title), h("span", {class: "price"}, money(hit.product.price, hit.product.currency, this.locale)))));
    this.strip.replaceChildren(h("div", {class: "similar-head"}, h("h3", {}, this.texts.similar),
      h("button", {type: "button", class: "text-button", onclick: () => this.on.similar(this.#brief(this.product))}, this.texts.showAllSimilar)),
    h("ul", {class: "strip", role: "list"}, cards));
    this.on.beside(list, new Map(hits.map((hit, place) => [hit.product_id, cards[place]])));
  }
}
