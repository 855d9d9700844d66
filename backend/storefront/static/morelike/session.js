/* What a shopper says of the results: gathered for a moment, sent as one turn, and kept when a turn does not come through. */

import {judgements} from "./turns.js";

const JUDGING_PAUSE_MS = 650;  // several thumbs in a row are one turn
const TURN_WAIT_S = 5;

export class Session {
  /** `on` has: state() where the session stands, turn(said) that resolves when it is shown, judged(pending), failed(sentence). */
  constructor(texts, on) {
    Object.assign(this, {texts, on});
    this.pending = new Map();
    this.unsent = null;
    this.sending = false;
    addEventListener("online", () => this.unsent && this.retry());
  }

  /** `product` is liked (1), disliked (-1) or neither (0); with `hold` nothing is sent before `release`. */
  judge(product, value, {hold = false} = {}) {
    const before = judgements(this.on.state()).get(product.id)?.value ?? 0;
    if (value === before) this.pending.delete(product.id);
    else this.pending.set(product.id, {id: product.id, title: product.title, image: product.image ?? null, value});
    this.on.judged(this.pending);
    if (!hold) this.release();
  }

  /** Send what was said, once nothing more is said for a moment. */
  release() {
    clearTimeout(this.timer);
    if (this.pending.size > 0) this.timer = setTimeout(() => this.say(), JUDGING_PAUSE_MS);
  }

  /** Send words, parts of pictures and what was judged meanwhile as one turn; without any, the list is refined by itself. */
  async say({text = "", parts = []} = {}) {
    clearTimeout(this.timer);
    if (this.sending) {
      this.waiting = {text: text || this.waiting?.text || "", parts: [...(this.waiting?.parts ?? []), ...parts]};
      return;
    }
    this.sending = true;
    const turn = (this.turn = {});
    const words = (text || this.unsent?.text || "").trim();
    const marked = [...(this.unsent?.parts ?? []), ...parts];
    const said = {products: [...this.pending.values()], parts: marked, text: words};
    try {
      await this.on.turn(said);
      if (turn !== this.turn) return;  // forgotten meanwhile
      this.unsent = null;
      for (const product of said.products) if (this.pending.get(product.id) === product) this.pending.delete(product.id);
    } catch (error) {
      if (turn === this.turn) this.#failed(error, {text: words, parts: marked});
      return;
    } finally {
      if (turn === this.turn) this.sending = false;
    }
    this.on.judged(this.pending);
    const {waiting} = this;
    this.waiting = null;
    if (waiting) this.say(waiting);
    else this.release();
  }

  /** The turn that did not come through, once more. */
  retry() {
    return this.say();
  }

  /** Something else is looked at now: what was not sent yet no longer counts. */
  forget() {
    clearTimeout(this.timer);
    this.turn = this.unsent = this.waiting = null;
    this.sending = false;
    this.pending.clear();
    this.on.judged(this.pending);
  }

  #failed(error, said) {
    this.unsent = said;
    let seconds = Math.ceil(error.retryAfter ?? TURN_WAIT_S);
    const tick = () => {
      this.on.failed(this.#sentence(error, seconds));
      if (error.kind === "rate_limited") this.timer = setTimeout(() => (seconds-- > 1 ? tick() : this.retry()), 1000);
    };
    tick();
  }

  #sentence(error, seconds) {
    if (error.kind === "offline") return this.texts.offlineTurn;
    if (error.kind === "rate_limited") return this.texts.limitedTurn.replace("{seconds}", String(seconds));
    return this.texts.notRefined.replace("{detail}", error.kind === "unreachable" ? this.texts.unreachableTitle : error.detail);
  }
}
