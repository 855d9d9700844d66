/* Refining: what was said of a list is sent, and the next list takes its place; any turn can be gone back to. */

import {Session} from "./session.js";
import {judgements, listOf, standingAt, stepOf, toRefinement, withStep, withTurn} from "./turns.js";

const KEPT_LISTS = 100;  // one that is gone back to after more is asked for again

export class Refiner {
  /** `shop` is the search that is refined. */
  constructor(shop, texts) {
    this.shop = shop;
    this.lists = new Map();  // query id -> {answer, hits}: what was served in this session
    this.session = new Session(texts, {
      state: () => shop.state,
      turn: (said) => this.#turn(said),
      judged: (pending) => shop.view.judged(shop.state, pending),
      failed: (sentence) => shop.view.trail.fail(sentence),
    });
  }

  /** `product`, {id, title, image}, is liked (1), disliked (-1) or neither (0). On a product page it waits for the results. */
  judge(product, value) {
    this.session.judge(product, value, {hold: this.shop.page.element.open});
  }

  refine({text = "", product = null, parts = []} = {}) {
    this.shop.page.close();
    if (product && parts.length === 0) this.session.judge(product, 1, {hold: true});
    return this.session.say({text, parts: parts.map((part) => ({...part, ...product}))});
  }

  goTo(at) {
    const {shop} = this;
    this.session.forget();
    shop.state = standingAt(shop.state, at);
    const kept = this.lists.get(stepOf(shop.state).id);
    shop.journey.visit(shop.state, kept);
    if (!kept) return shop.ask();
    shop.begin();
    shop.accept(kept.answer, kept.hits, {gliding: true});
    return shop.tell("results", {answer: kept.answer, state: shop.state, partial: false});
  }

  /** Show why the list that is shown is as it is. */
  explain() {
    const {shop} = this;
    const parent = this.lists.get((shop.state.at > 1 ? stepOf(shop.state, shop.state.at - 1) : shop.state.begin).id);
    const before = (id) => parent?.hits.find((hit) => hit.product_id === id)?.product;
    return shop.view.why.open(shop.answer, (id) => this.shown().known(id) ?? before(id) ?? null);
  }

  /** The refined list under other filters, or sorted otherwise: the same turn, served anew. */
  async refilter(changes) {
    const {shop} = this;
    const {filters, sort} = {...shop.state, ...changes};
    const answer = await this.#refined(listOf(shop.state), {filters, sort}).catch((error) => shop.fail(error));
    if (answer) this.#arrive(withStep(shop.state, {id: answer.query_id, filters, sort}), answer);
  }

  /** What a summarizer makes of the product `id` under the list that is shown: {content_hash, saliency}, or null without one. */
  async pictureOf(id) {
    const list = this.shop.answer?.query_id;
    if (!list) return null;
    const {items} = await this.shop.client.explain(list, {products: [id]});
    return items.find((item) => item.product_id === id)?.image ?? null;
  }

  /** An answer is about to be shown: it can be gone back to, and its products show what was said of them. */
  keep(answer, hits) {
    if (!answer.query_id) return;
    this.lists.delete(answer.query_id);
    this.lists.set(answer.query_id, {answer, hits});
    for (const old of [...this.lists.keys()].slice(0, -KEPT_LISTS)) this.lists.delete(old);
  }

  /** What led to the list that is shown, for its cards: {said, decision, known}; null where nothing was refined. */
  shown() {
    const {state} = this.shop;
    if (state.at === 0) return null;
    const {said, decision} = stepOf(state);
    const judged = judgements(state);
    return {said, decision, known: (id) => judged.get(id) ?? this.shop.known(id)};
  }

  /** What was not sent no longer counts. */
  giveUp() {
    this.session.forget();
    this.shop.accept(this.shop.answer, this.shop.hits);
  }

  /** One turn: `said` is sent, and what comes of it is shown. */
  async #turn(said) {
    const {shop} = this;
    if (!shop.answer?.query_id) {  // someone was still typing: there is no list to refine yet
      shop.journey.visit(shop.state);
      await shop.ask();
    }
    if (!shop.answer) return;
    const {filters, sort} = shop.state;
    const parent = {id: shop.answer.query_id, filters, sort};
    shop.tell("feedback", {query_id: parent.id, ...toRefinement(said)});
    const answer = await this.#refined(parent.id, toRefinement(said));
    if (!answer) return;
    shop.view.trail.clearField();
    this.#arrive(withTurn(shop.state, parent, {id: answer.query_id, said, filters, sort, decision: answer.refine?.decision}), answer);
  }

  /** The answer to a refinement of the list `parent`; undefined where something else was asked meanwhile. */
  async #refined(parent, said) {
    const {shop} = this;
    const signal = shop.begin();
    shop.view.box.settle();
    const settled = shop.view.busy(true);
    try {
      await shop.collector.settled();
      const {user_id: _, ...asker} = shop.asker();  // the list that is refined knows who is signed in
      return await shop.client.refine(parent, {...said, ...asker}, {signal});
    } catch (error) {
      if (signal.aborted) return undefined;
      shop.accept(shop.answer, shop.hits);
      throw error;
    } finally {
      settled();
    }
  }

  #arrive(state, answer) {
    const {shop} = this;
    shop.state = state;
    shop.journey.visit(state, {answer, hits: answer.hits});
    shop.accept(answer, answer.hits, {gliding: true});
    shop.tell("results", {answer, state, partial: false});
  }
}
