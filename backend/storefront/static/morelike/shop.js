/* The whole search on one element: what is asked, what is shown, and where the address stands. */

import {Morelike, MorelikeError, safeUrl} from "./client.js";
import {Journey} from "./journey.js";
import {Pictures, readPicture} from "./picture.js";
import {ProductPage} from "./product.js";
import {Session} from "./session.js";
import {Address, EMPTY, fromParams, toParams, toRequest} from "./state.js";
import {TEXTS, withTexts} from "./texts.js";
import {UNTOUCHED, judgements, listOf, standingAt, stepOf, toRefinement, withStep, withTurn} from "./turns.js";
import {View} from "./view.js";
import {Ear} from "./voice.js";

const SLOW_MS = 2000;
const DEFAULT_LIMIT_WAIT_S = 5;

export class Shop {
  constructor(target, options = {}) {
    this.options = {query: "", limit: 24, facets: DEFAULT_FACETS, address: "hash", productPage: "dialog", voice: "auto", examples: [], locale: undefined, ...options};
    this.target = target;
    this.texts = withTexts(TEXTS, this.options.texts);
    this.client = new Morelike({key: this.options.key, url: this.options.url, onCall: (call) => this.#tell("call", call)});
    this.pictures = new Pictures();
    this.journey = new Journey(new Address(this.options.address), (entry, place) => this.#arrive(entry, place));
    this.state = EMPTY;
    this.hits = [];
    this.answer = null;
    this.lists = new Map();  // of the turns that can be gone back to
    this.#build();
    this.#start();
  }

  /** Search for `changes` laid over what is searched now: {text, spoken, picture, product, filters, sort}. */
  search(changes = {}, {partial = false} = {}) {
    const names = Object.keys(changes);
    if (this.state.at > 0 && names.every((name) => name === "filters" || name === "sort")) {
      return names.length > 0 ? this.#refilter(changes) : this.#ask(false);
    }
    this.session.forget();
    this.state = {...this.state, ...UNTOUCHED, ...("text" in changes && {spoken: false}), ...changes};
    if (!partial) this.journey.visit(this.state);
    return this.#ask(partial);
  }

  /** Products like `product`: {id, title, image}. Words and picture make way; filters stay. */
  similar(product) {
    this.page.close();
    this.target.scrollIntoView({block: "nearest"});
    return this.search({product, text: "", picture: null, sort: "relevance"});
  }

  /** Like (1), dislike (-1) or neither (0): `product` is {id, title, image}. The list follows after a short pause. */
  judge(product, value) {
    this.session.judge(product, value, {hold: this.page.element.open});
  }

  /** Refine the list: {text, product to be liked, parts: [{value, image, box}] of its pictures}; without any, by itself. */
  refine({text = "", product = null, parts = []} = {}) {
    this.page.close();
    if (product && parts.length === 0) this.session.judge(product, 1, {hold: true});
    return this.session.say({text, parts: parts.map((part) => ({...part, ...product}))});
  }

  /** To the list as it was after `at` turns. */
  goTo(at) {
    this.session.forget();
    this.state = standingAt(this.state, at);
    const kept = this.lists.get(stepOf(this.state).id);
    this.journey.visit(this.state, kept);
    if (!kept) return this.#ask(false);
    this.controller?.abort();
    return this.#accept(kept.answer, kept.hits, {gliding: true});
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
    const open = (hit, event) => this.#open(hit, event);
    const similar = (product) => this.similar(product);
    const judge = (product, value) => this.judge(product, value);
    this.page = new ProductPage(texts, {client, locale, hrefOf, on: {close: () => this.journey.leaveProduct(this.state), open, similar, judge, say: (said) => this.refine(said)}});
    this.session = new Session(texts, {
      state: () => this.state,
      turn: (said) => this.#turn(said),
      judged: (pending) => this.view.judged(this.state, pending),
      failed: (sentence) => this.view.trail.fail(sentence),
    });
    this.language = locale || document.documentElement.lang || navigator.language;
    this.ear = new Ear(this.options.voice, this.language, {
      listening: (whether) => this.#listening(whether),
      words: (text) => this.view.box.overhear(text),
      heard: (text) => this.search({text, spoken: true}),
      recorded: (audio) => this.#ask(false, audio),
      failed: (why) => this.#misheard(texts[why]),
    });
    this.view = new View(texts, {
      client, locale, examples: this.options.examples, page: this.page, facets: this.options.facets, hears: this.ear.able,
      box: {
        listen: () => this.ear.toggle(),
        deafen: () => this.ear.cancel(),
        type: (text) => this.search({text, spoken: this.ear.session !== null}, {partial: true}),
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
        retry: () => this.session.retry(),
        give_up: () => this.#giveUp(),
      },
      on: {filters: (filters) => this.search({filters}), sort: (sort) => this.search({sort}), more: () => this.#more(), retry: () => this.#ask(false)},
    });
    this.view.attach(this.target);
    addEventListener("online", () => this.failed?.kind === "offline" && this.#ask(false));
  }

  /** The address says what to show; where it says nothing, the query the page asked for. */
  #start() {
    const {params, productId} = this.journey.read() ?? {params: new URLSearchParams(), productId: null};
    this.state = fromParams(params, this.pictures, this.options.query, this.journey.session());
    this.journey.begin(this.state);
    this.#ask(false);
    this.#nameProduct();
    if (productId !== null) this.page.open(productId);
  }

  /** Arrived by Back, Forward or a changed address: what was served then is shown again, not searched again. */
  #arrive(entry, place) {
    if (!place) return;  // an anchor of the page itself
    const {params, productId} = place;
    const state = entry?.state ?? fromParams(params, this.pictures, this.options.query, this.journey.session());
    if (!entry) this.journey.adopt(state);
    if (productId !== null) this.page.open(productId, this.#known(productId));
    else this.page.close();
    if (toParams(state).toString() === toParams(this.state).toString() && this.answer) {
      if (productId === null) this.session.release();
      return;
    }
    this.session.forget();
    const gliding = state.begin !== null && state.begin.id === (this.state.begin ?? {id: this.answer?.query_id}).id;
    this.state = state;
    if (!entry?.answer) {
      this.#ask(false);
      this.#nameProduct();
      return;
    }
    this.controller?.abort();
    this.#accept(entry.answer, entry.hits, {gliding});
  }

  /** Ask for the state, or for what `audio` says in place of its text. */
  async #ask(partial, audio = null) {
    this.controller?.abort();
    clearTimeout(this.waiting);
    const {signal} = (this.controller = new AbortController());
    let state = audio ? {...this.state, text: "", spoken: true} : this.state;
    this.view.box.settle();
    if (!partial) this.view.box.say("");
    this.view.box.show(state, this.client);
    this.view.busy(this.hits.length > 0);
    const slow = setTimeout(() => this.view.slow(), SLOW_MS);
    try {
      const answer = await this.#answerTo(state, {partial, audio, signal});
      if (audio) {
        state = this.state = {...state, text: answer.transcript};
        this.journey.visit(state);
      }
      this.#accept(answer, answer.hits);
      if (!partial) this.journey.remember({answer, hits: this.hits});
      this.#tell("results", {answer, state, partial});
    } catch (error) {
      if (signal.aborted) return;
      if (audio && this.answer) this.#misheard(error.problem?.type?.endsWith(":nothing-heard") ? this.texts.heardNothing : error.detail);
      else this.#fail(error);
    } finally {
      clearTimeout(slow);
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

  /** One turn: `said` is sent, and what comes of it is shown. */
  async #turn(said) {
    if (!this.answer?.query_id) await this.#ask(false);  // someone was still typing: there is no list to refine
    if (!this.answer) return;
    const parent = {id: this.answer.query_id, filters: this.state.filters, sort: this.state.sort};
    this.#tell("feedback", {query_id: parent.id, ...toRefinement(said)});
    const answer = await this.#refined(parent.id, toRefinement(said));
    if (!answer) return;
    const {filters, sort} = this.state;
    this.view.trail.clearField();
    this.#arriveAt(withTurn(this.state, parent, {id: answer.query_id, said, filters, sort, decision: answer.refine?.decision}), answer);
  }

  /** The refined list under other filters, or sorted otherwise: the same turn, served anew. */
  async #refilter(changes) {
    const {filters, sort} = {...this.state, ...changes};
    const answer = await this.#refined(listOf(this.state), {filters, sort}).catch((error) => this.#fail(error));
    if (answer) this.#arriveAt(withStep(this.state, {id: answer.query_id, filters, sort}), answer);
  }

  /** The answer to a refinement of the list `parent`; undefined where something else was asked meanwhile. */
  async #refined(parent, said) {
    this.controller?.abort();
    const {signal} = (this.controller = new AbortController());
    const {facets, limit, ...who} = this.#request(this.state, false);
    for (const name of ["text", "image", "product_id", "filters", "sort", "query_type"]) delete who[name];
    this.view.box.settle();
    this.view.busy(true);
    const slow = setTimeout(() => this.view.slow(), SLOW_MS);
    try {
      return await this.client.refine(parent, {...said, facets, limit, ...who}, {signal});
    } catch (error) {
      if (signal.aborted) return undefined;
      this.#accept(this.answer, this.hits);
      throw error;
    } finally {
      clearTimeout(slow);
    }
  }

  #arriveAt(state, answer) {
    this.state = state;
    this.journey.visit(state, {answer, hits: answer.hits});
    this.#accept(answer, answer.hits, {gliding: true});
    this.#tell("results", {answer, state, partial: false});
  }

  #giveUp() {
    this.session.forget();
    this.#accept(this.answer, this.hits);
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
    if (this.answer) this.#accept(this.answer, this.hits);
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
      this.#accept({...answer, cursor: next.cursor, hits: [...this.hits, ...next.hits]}, [...this.hits, ...next.hits]);
      this.journey.remember({answer: this.answer, hits: this.hits});
      this.view.grid.focus(first);
    } catch (error) {
      if (!controller.signal.aborted) this.view.moreFailed(error);
    }
  }

  #accept(answer, hits, {gliding = false} = {}) {
    this.failed = null;
    this.answer = answer;
    this.hits = hits;
    if (answer.query_id) this.lists.set(answer.query_id, {answer, hits});
    this.view.box.show(this.state, this.client);
    this.view.show(this.state, answer, hits, {turn: this.#turnShown(), gliding});
    this.view.judged(this.state, this.session.pending);
  }

  /** What led to the list that is shown, for the cards: {said, decision, known}. */
  #turnShown() {
    if (this.state.at === 0) return null;
    const {said, decision} = stepOf(this.state);
    const judged = judgements(this.state);
    return {said, decision, known: (id) => judged.get(id) ?? this.#brief(id)};
  }

  #brief(id) {
    const product = this.#known(id);
    return product && {id, title: product.title, image: product.image};
  }

  #fail(error) {
    this.failed = error;
    this.answer = null;
    this.hits = [];
    let seconds = Math.ceil(error.retryAfter ?? DEFAULT_LIMIT_WAIT_S);
    const tick = () => {
      this.view.fail(error, seconds);
      if (error.kind !== "rate_limited") return;
      this.waiting = setTimeout(() => (seconds-- > 1 ? tick() : this.#ask(false)), 1000);
    };
    tick();
    this.#tell("error", {error});
  }

  #request(state, partial) {
    return {
      ...toRequest(state, {facets: this.options.facets, limit: this.options.limit}),
      session_id: sessionId(), surface: "web", device: matchMedia("(max-width: 40rem)").matches ? "mobile" : "desktop",
      ...(this.options.shopper && {shopper_id: this.options.shopper}),
      ...(partial && {partial: true}),
    };
  }

  /** A picture, a web address of one, or one of the shop's own cards was dropped, pasted or picked. */
  async #take({file, url, productId}) {
    if (productId) return this.similar({id: productId, ...this.#known(productId)});
    try {
      const picture = url ? {url, name: url} : await readPicture(file);
      if (!url) this.pictures.keep(picture);
      return this.search({picture, product: null, text: "", sort: "relevance"});
    } catch {
      return this.#fail(new MorelikeError("problem", this.texts.pictureRefused));
    }
  }

  #open(hit, event) {
    if (this.options.productPage === "link" && safeUrl(hit.product.url)) return;  // the link leads to the shop's own page
    event.preventDefault();
    this.#tell("product", {hit});
    this.journey.visitProduct(this.state, hit.product_id, {answer: this.answer, hits: this.hits});
    this.page.open(hit.product_id, hit.product);
  }

  #linkOf(hit) {
    const own = this.options.productPage === "link" ? safeUrl(hit.product.url, this.client.url) : null;
    return own || this.journey.address.of(this.state, hit.product_id);
  }

  #known(id) {
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

  #tell(name, detail) {
    this.target.dispatchEvent(new CustomEvent(`morelike:${name}`, {detail, bubbles: true}));
  }
}

const DEFAULT_FACETS = ["category", "brand", "attributes.colour", "attributes.color", "attributes.material", "attributes.size", "price"];

/** A random name for this visit, so that its searches can be told to belong together; forgotten with the tab. */
function sessionId() {
  try {
    const kept = sessionStorage.getItem("morelike-session") || crypto.randomUUID?.() || String(Math.random()).slice(2);
    sessionStorage.setItem("morelike-session", kept);
    return kept;
  } catch {
    return null;
  }
}
