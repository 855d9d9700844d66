/* Events on their way to the server: in small batches, again where one fails, by beacon when the page is left. */

import {forget, keep, randomName, recall} from "./memory.js";

const TOGETHER_MS = 250;
const MOST_WAITING = 1000;
const MOST_EVENTS = 200;
const MOST_CHARACTERS = 24_000;  // a browser carries 64 KB for all pages that are being left
const PATIENCE = 6;
const UNSENT = "unsent";

export class Outbox {
  constructor(client) {
    Object.assign(this, {client, waiting: [], flying: [], failures: 0, sending: null});
  }

  /** `event` happened now; the server counts it once, however often it is sent. */
  add(event) {
    this.waiting.push({message_id: randomName(), timestamp: new Date().toISOString(), ...event});
    this.waiting.splice(0, this.waiting.length - MOST_WAITING);
    this.#soon(TOGETHER_MS);
  }

  /** Resolves when what waits has arrived, or soon after. */
  settled() {
    if (this.waiting.length === 0 && !this.sending) return Promise.resolve();
    const soon = new Promise((resolve) => setTimeout(resolve, TOGETHER_MS));
    return Promise.race([this.#send(), soon]);
  }

  /** The page is left, perhaps for good. What a beacon does not take, or might not bring, is kept for the next page. */
  leave() {
    clearTimeout(this.timer);
    const unsure = this.failures > 0 ? [...this.flying, ...this.waiting] : [];
    while (this.waiting.length > 0) {
      const batch = this.#batch();
      if (navigator.sendBeacon?.(this.#address(), bodyOf(batch))) continue;
      if (unsure.length === 0) unsure.push(...batch, ...this.waiting);
      this.waiting = [];
    }
    if (unsure.length > 0) keep(UNSENT, [...unsent(), ...unsure].slice(-MOST_WAITING));  // another tab may have left some
  }

  /** What an earlier page could not send is sent by this one. */
  resume() {
    const earlier = unsent();
    forget(UNSENT);
    if (earlier.length === 0) return;
    this.waiting.unshift(...earlier);
    this.#soon(TOGETHER_MS);
  }

  /** Nothing of what waits is sent. */
  drop() {
    clearTimeout(this.timer);
    this.waiting = this.flying = [];
    forget(UNSENT);
  }

  #soon(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#send(), wait);
  }

  /** The first of what waits, as much as goes into one request. */
  #batch() {
    let [count, characters] = [0, 0];
    while (count < Math.min(this.waiting.length, MOST_EVENTS)) {
      characters += JSON.stringify(this.waiting[count]).length;
      if (count > 0 && characters > MOST_CHARACTERS) break;
      count += 1;
    }
    return this.waiting.splice(0, count);
  }

  #send() {
    clearTimeout(this.timer);
    this.sending ??= this.#sent().then((wait) => {
      this.sending = null;
      if (this.waiting.length > 0) this.#soon(wait);
    });
    return this.sending;
  }

  /** Send one batch; how long to wait with the next, in milliseconds. What did not arrive is sent again. */
  async #sent() {
    const batch = (this.flying = this.#batch());
    if (batch.length === 0) return 0;
    const signal = AbortSignal.timeout(this.client.timeout);
    const answer = await fetch(this.#address(), {method: "POST", body: bodyOf(batch), keepalive: true, credentials: "omit", signal}).catch(() => null);
    if (this.flying !== batch) return 0;  // dropped meanwhile
    this.flying = [];
    const again = !answer || answer.status === 429 || answer.status >= 500;
    this.failures = again && this.failures < PATIENCE ? this.failures + 1 : 0;
    if (this.failures === 0) return 0;
    this.waiting.unshift(...batch);
    return Math.max(TOGETHER_MS * 4 ** this.failures, 1000 * Number(answer?.headers.get("Retry-After") ?? 0));
  }

  /** With the key in it, because a beacon carries no headers; text needs no preflight. */
  #address() {
    return `${this.client.url}/v1/events${this.client.key ? `?key=${encodeURIComponent(this.client.key)}` : ""}`;
  }
}

function unsent() {
  const kept = recall(UNSENT);
  return Array.isArray(kept) ? kept : [];
}

/** With the time by this clock, so that a wrong one is found out. */
function bodyOf(batch) {
  return JSON.stringify({batch, sent_at: new Date().toISOString()});
}
