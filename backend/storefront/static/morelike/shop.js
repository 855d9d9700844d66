/* The whole search on one element: what is asked, what is shown, and where the address stands. */

import {Morelike, MorelikeError, safeUrl} from "./client.js";
import {Collector} from "./collect.js";
import {isPlainClick} from "./elements.js";
import {Journey} from "./journey.js";
import {Pictures, readPicture} from "./picture.js";
import {ProductPage} from "./product.js";
import {Refiner} from "./refiner.js";
import {Address, EMPTY, fromParams, toParams, toRequest} from "./state.js";
import {TEXTS, withTexts} from "./texts.js";
import {Wording} from "./rewording.js";
import {UNTOUCHED, listOf} from "./turns.js";
import {View} from "./view.js";
import {Ear} from "./voice.js";

const DEFAULT_LIMIT_WAIT_S = 5;
const MOST_LOCALE = 16;

export class Shop {
  constructor(target, options = {}) {
    this.options = {query: "", limit: 24, facets: DEFAULT_FACETS, address: "hash", productPage: "dialog", voice: "auto", collect: "on", examples: [], locale: undefined, ...options};
    this.target = target;
    this.texts = withTexts(TEXTS, this.options.texts);
    this.client = new Morelike({key: this.options.key, url: this.options.url, onCall: (call) => this.tell("call", call)});
    this.collector = new Collector(this.client, this.options);
    this.wording = new Wording(this.options.query);
    this.pictures = new Pictures();
    this.journey = new Journey(new Address(this.options.address), (entry, place) => this.#arrive(entry, place));
    this.state = EMPTY;
    this.hits = [];
    this.answer = null;
    this.rested = null;  // the words at which typing paused, while it may go on
    this.#build();
    this.#start();
  }

  /**
   * Search for `changes` laid over what is searched now: {text, spoken, picture, product, filters, sort}. `partial`: it
   * is still being typed; `rested`: its typing has paused, and may go on.
   */
  search(changes = {}, {partial = false, rested = false} = {}) {
    const names = Object.keys(changes);
    if (this.state.at > 0 && names.every((name) => name === "filters" || name === "sort")) {
      return names.length > 0 ? this.refiner.refilter(changes) : this.ask();
    }
    this.refiner.session.forget();
    this.state = {...this.state, ...UNTOUCHED, ...("text" in changes && {spoken: false}), ...changes};
    const longer = this.rested !== null && (changes.text ?? "").startsWith(this.rested);
    if (!partial) {
      this.journey.visit(this.state, {}, {inPlace: longer});
      this.rested = rested ? this.state.text : null;
    }
    return this.ask({partial, anew: !partial && !longer && !changes.product && ("text" in changes || "picture" in changes)});
  }

  /** Products like `product`: {id, title, image}. Words and picture make way; filters stay. */
  similar(product) {
    this.page.close();
    this.target.scrollIntoView({block: "nearest"});
    return this.search({product, text: "", picture: null, sort: "relevance"});
  }

  /** Like (1), dislike (-1) or neither (0): `product` is {id, title, image}. The list follows after a short pause. */
  judge(product, value) {
    this.refiner.judge(product, value);
  }

  /** Refine the list: {text, product to be liked, parts: [{value, place, box}] of its pictures}; without any, by itself. */
  refine(said = {}) {
    return this.refiner.refine(said);
  }

  /** To the list as it was after `at` turns. */
  goTo(at) {
    return this.refiner.goTo(at);
  }

  focusResults() {
    this.view.grid.focus(0);
  }

  focusSearch() {
    this.view.box.focus();
  }

  #build() {
    const {texts, client} = this;
    const {locale} = this.options;
    const hrefOf = (hit) => this.#linkOf(hit);
    const open = (hit, event, list) => this.#open(hit, event, list);
    const similar = (product) => this.similar(product);
    const judge = (product, value) => this.judge(product, value);
    this.page = new ProductPage(texts, {client, locale, hrefOf, on: {
      close: () => this.journey.leaveProduct(this.state), left: () => this.#leftProduct(), open, similar, judge,
      say: (said) => this.refine(said), explain: (id) => this.refiner.pictureOf(id),
      asker: () => this.collector.asker, beside: (list, cards) => this.collector.shownBeside(list, cards),
    }});
    this.refiner = new Refiner(this, texts);
    this.language = locale || document.documentElement.lang || navigator.language;
    this.ear = new Ear(this.options.voice, this.language, {
      listening: (whether) => this.#listening(whether),
      words: (text) => this.view.box.overhear(text),
      heard: (text) => this.search({text, spoken: true}),
      recorded: (audio) => this.ask({audio}),
      failed: (why) => this.#misheard(texts[why]),
    });
    this.view = new View(texts, {
      client, locale, examples: this.options.examples, page: this.page, facets: this.options.facets, hears: this.ear.able,
      box: {
        listen: () => this.ear.toggle(),
        deafen: () => this.ear.cancel(),
        type: (text) => this.search({text, spoken: this.ear.session !== null}, {partial: true}),
        rest: (text) => this.ear.session === null && this.search({text}, {rested: true}),
        commit: (text) => this.search({text}),
        carried: (found) => this.#take(found),
        drop_picture: () => this.search({picture: null}),
        drop_product: () => this.search({product: null}),
      },
      grid: {hrefOf, open, similar, judge},
      trail: {
        judge,
        go: (at) => this.goTo(at),
        say: (text) => this.refine({text}),
        restart: () => this.goTo(0),
        explain: () => this.refiner.explain(),
        retry: () => this.refiner.session.retry(),
        give_up: () => this.refiner.giveUp(),
      },
      on: {filters: (filters) => this.search({filters}), sort: (sort) => this.search({sort}), more: () => this.#more(), retry: () => this.ask()},
    });
    this.view.attach(this.target);
    new MutationObserver(() => this.#cover()).observe(this.view.element, {subtree: true, attributes: true, attributeFilter: ["open"]});
    addEventListener("pageshow", ({persisted}) => persisted && this.collector.arrived());
    addEventListener("online", () => this.failed?.kind === "offline" && this.ask());
  }

  /** The address says what to show; where it says nothing, the query the page asked for. */
  #start() {
    const {params, productId} = this.journey.read() ?? {params: new URLSearchParams(), productId: null};
    this.state = fromParams(params, this.pictures, this.options.query, this.journey.session());
    this.journey.begin(this.state);
    this.ask();
    this.#nameProduct();
    this.collector.arrived();
    if (productId !== null) this.#look(productId, null);
  }

  /** Arrived by Back, Forward or a changed address: what was served then is shown again, not searched again. */
  #arrive(entry, place) {
    if (!place) return;  // an anchor of the page itself
    const {params, productId} = place;
    const state = entry?.state ?? fromParams(params, this.pictures, this.options.query, this.journey.session());
    if (!entry) this.journey.adopt(state);
    if (productId !== null) this.#look(productId, this.known(productId), listWith(productId, entry));
    else this.page.close();
    if (toParams(state).toString() === toParams(this.state).toString() && this.answer) {
      if (productId === null) this.refiner.session.release();
      return;
    }
    this.refiner.session.forget();
    const gliding = state.begin !== null && state.begin.id === (this.state.begin ?? {id: this.answer?.query_id}).id;
    this.state = state;
    if (!entry?.answer) {
      this.ask();
      this.#nameProduct();
      return;
    }
    this.begin();
    this.accept(entry.answer, entry.hits, {gliding});
    this.tell("results", {answer: entry.answer, state, partial: false});
  }

  /** Nothing that was asked before is waited for any longer; the signal for what is asked now. */
  begin() {
    this.controller?.abort();
    clearTimeout(this.waiting);
    return (this.controller = new AbortController()).signal;
  }

  /** Ask for the state, or for what `audio` says in place of its text. */
  async ask({partial = false, audio = null, anew = audio !== null} = {}) {
    const signal = this.begin();
    let state = audio ? {...this.state, ...UNTOUCHED, text: "", spoken: true} : this.state;
    this.view.box.settle();
    if (!partial) this.view.box.say("");
    this.view.box.show(state, this.client);
    const settled = this.view.busy(this.hits.length > 0);
    try {
      const answer = await this.#answerTo(state, {partial, audio, signal});
      if (audio) {
        state = this.state = {...state, text: answer.transcript};
        this.journey.visit(state);
      }
      this.accept(answer, answer.hits, {anew});
      if (!partial) this.journey.remember({answer, hits: this.hits});
      this.tell("results", {answer, state, partial});
    } catch (error) {
      if (signal.aborted) return;
      if (audio && this.answer) this.#misheard(error.problem?.type?.endsWith(":nothing-heard") ? this.texts.heardNothing : error.detail);
      else this.fail(error);
    } finally {
      settled();
    }
  }

  /** A refined list is shown as it was served; where it is no longer kept, the search that it began with. */
  async #answerTo(state, {partial, audio, signal}) {
    const list = listOf(state);
    if (list) {
      try {
        const answer = await this.client.list(list, {signal});
        return {...answer, facets: answer.facets ?? this.journey.session()?.facets ?? null};
      } catch (error) {
        if (error.status !== 404) throw error;
        this.state = {...state, ...UNTOUCHED};
        this.journey.visit(this.state);
        this.view.box.say(this.texts.expired);
      }
    }
    const request = this.#request(list ? this.state : state, partial);
    return audio ? this.client.speak(audio, request, {language: this.#spoken(), signal}) : this.client.search(request, {signal});
  }

  #listening(whether) {
    this.view.box.settle();
    this.view.box.listen(whether, this.ear.able);
    if (!whether) this.view.box.show(this.state, this.client);
  }

  /** The language in ISO 639-1, where it has such a code. */
  #spoken() {
    return this.language.match(/^[a-z]{2}(?=-|$)/i)?.[0].toLowerCase();
  }

  /** What was said could not be understood: the results that are there stay. */
  #misheard(why) {
    if (this.answer) this.accept(this.answer, this.hits);
    this.view.box.say(why);
  }

  async #more() {
    const {state, answer, controller} = this;
    if (!answer?.cursor) return;
    const first = this.hits.length;
    this.view.loadingMore();
    try {
      const next = await this.client.search({cursor: answer.cursor, limit: this.options.limit}, {signal: controller.signal});
      if (answer !== this.answer) return;  // another search has taken its place
      this.accept({...answer, cursor: next.cursor, hits: [...this.hits, ...next.hits]}, [...this.hits, ...next.hits]);
      this.journey.remember({answer: this.answer, hits: this.hits});
      this.view.grid.focus(first);
    } catch (error) {
      if (!controller.signal.aborted) this.view.moreFailed(error);
    }
  }

  /** Show an answer; with `gliding` its cards are seen to move to where they are. `anew`: it was asked for in other words. */
  accept(answer, hits, {gliding = false, anew = false} = {}) {
    this.failed = null;
    this.answer = answer;
    this.hits = hits;
    this.refiner.keep(answer, hits);
    this.view.box.show(this.state, this.client);
    this.view.show(this.state, answer, hits, {turn: this.refiner.shown(), gliding});
    this.view.judged(this.state, this.refiner.session.pending);
    const {elements, columns} = this.view.grid;
    this.collector.shown(answer.query_id, elements, {columns});
    this.collector.reworded(this.wording.shown(answer.query_id, this.state, anew), answer.query_id);
  }

  /** Say that an answer did not come; a rate limit is waited out. */
  fail(error) {
    this.failed = error;
    this.answer = null;
    this.hits = [];
    this.collector.shown(null, new Map());
    let seconds = Math.ceil(error.retryAfter ?? DEFAULT_LIMIT_WAIT_S);
    const tick = () => {
      this.view.fail(error, seconds);
      if (error.kind !== "rate_limited") return;
      this.waiting = setTimeout(() => (seconds-- > 1 ? tick() : this.ask()), 1000);
    };
    tick();
    this.tell("error", {error});
  }

  /** How much is wanted, by whom: what every search and every refinement says. */
  asker() {
    const {facets, limit} = this.options;
    return {limit, ...(facets.length && {facets}), ...this.collector.asker};
  }

  #request(state, partial) {
    const {columns} = this.view.grid;
    return {
      ...toRequest(state), ...this.asker(), locale: this.language.slice(0, MOST_LOCALE), ...(partial && {partial: true}),
      ...(columns && {layout: columns > 1 ? "grid" : "list", columns}),
    };
  }

  /** A picture, a web address of one, or one of the shop's own cards was dropped, pasted or picked. */
  async #take({file, url, productId}) {
    if (productId) return this.similar({id: productId, ...this.known(productId)});
    try {
      const picture = url ? {url, name: url} : await readPicture(file);
      if (!url) this.pictures.keep(picture);
      return this.search({picture, product: null, text: "", sort: "relevance"});
    } catch {
      return this.fail(new MorelikeError("problem", this.texts.pictureRefused));
    }
  }

  /** A card was opened: one of the list that is shown, or of `list` where that is named. */
  #open(hit, event, list = this.answer?.query_id) {
    const own = this.#ownPage(hit);
    const stays = !isPlainClick(event);  // it opens in a tab of its own
    this.collector.clicked(hit.product_id, list, {stays, away: own !== null && !stays});
    if (own) event.currentTarget.href = this.collector.linked(own, list);
    if (own || stays) return;
    event.preventDefault();
    this.tell("product", {hit});
    this.journey.visitProduct(this.state, hit.product_id, {answer: this.answer, hits: this.hits});
    this.#look(hit.product_id, hit.product, list);
  }

  #look(productId, known, list) {
    this.page.open(productId, known);
    this.collector.looking(productId, list);  // it is in sight from now on
  }

  #leftProduct() {
    this.collector.left();
    this.collector.shownBeside(null, new Map());
  }

  /** What lies under a dialog is not in sight. */
  #cover() {
    const over = [...this.view.element.querySelectorAll("dialog[open]")];
    this.collector.cover(over.length > 0, over.some((dialog) => dialog !== this.page.element));
  }

  /** The product's page in the shop itself, where links lead there. */
  #ownPage(hit) {
    return this.options.productPage === "link" ? safeUrl(hit.product.url, this.client.url) : null;
  }

  #linkOf(hit) {
    return this.#ownPage(hit) || this.journey.address.of(this.state, hit.product_id);
  }

  /** What the results say of a product; null where it is not among them. */
  known(id) {
    return this.hits.find((hit) => hit.product_id === id)?.product ?? null;
  }

  /** A product that came by its number in the address gets its title and picture. */
  async #nameProduct() {
    const {product} = this.state;
    if (!product || product.title) return;
    const found = await this.client.product(product.id).catch(() => null);
    if (!found || this.state.product?.id !== product.id) return;
    this.state = {...this.state, product: {id: product.id, title: found.title, image: found.images.find((one) => one.url)?.url ?? null}};
    this.view.box.show(this.state, this.client);
  }

  /** Let the page hear `morelike:name`. */
  tell(name, detail) {
    this.target.dispatchEvent(new CustomEvent(`morelike:${name}`, {detail, bubbles: true}));
  }
}

/** The list of `entry` where the product is on it; undefined where it was opened from another, such as the similar ones. */
function listWith(productId, entry) {
  return entry?.hits?.some((hit) => hit.product_id === productId) ? entry.answer.query_id : undefined;
}

const DEFAULT_FACETS = ["category", "brand", "attributes.colour", "attributes.color", "attributes.material", "attributes.size", "price"];
