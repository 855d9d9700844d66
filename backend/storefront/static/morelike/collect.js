/* What the shopper does with the products of a list, told to the server: opened, looked at, come back from. */

const TOGETHER_MS = 250;
const MOST_WAITING = 400;
const PATIENCE = 6;

export class Collector {
  /** `who()` says whose events they are; `asked` switches all of it off, and so does a browser that asks not to be followed. */
  constructor(client, who, asked = "on") {
    Object.assign(this, {client, who, waiting: [], failures: 0, sending: null, visit: null});
    this.able = asked !== "off" && navigator.doNotTrack !== "1" && !navigator.globalPrivacyControl;
    if (!this.able) return;
    document.addEventListener("visibilitychange", () => document.hidden ? this.#pause() : this.#resume());
    addEventListener("pagehide", () => this.#pause());
  }

  /** A product of the list `queryId` was opened. */
  clicked(productId, queryId) {
    this.#leave();
    this.#add({type: "click", product_id: productId, query_id: queryId});
  }

  /** Its page is looked at from now on; the page before it is not any more. */
  looking(productId, queryId) {
    this.#leave();
    this.visit = {about: {product_id: productId, query_id: queryId}, began: performance.now(), since: performance.now()};
  }

  /** The shopper is back among the results. */
  left() {
    if (!this.visit) return;
    const {about, began} = this.visit;
    this.#leave();
    this.#add({type: "return", ...about, dwell_ms: Math.round(performance.now() - began)});
  }

  /** Resolves when what happened so far has arrived, or soon after: a refinement may count it. */
  settled() {
    if (this.waiting.length === 0 && !this.sending) return Promise.resolve();
    const soon = new Promise((resolve) => setTimeout(resolve, TOGETHER_MS));
    return Promise.race([this.#send(), soon]);
  }

  #leave() {
    this.#look();
    this.visit = null;
  }

  /** Note how long the page was visible since that was last noted. */
  #look() {
    if (!this.visit) return;
    const seen = this.visit.since === null ? 0 : Math.round(performance.now() - this.visit.since);
    this.visit.since = document.hidden ? null : performance.now();
    if (seen > 0) this.#add({type: "dwell", ...this.visit.about, dwell_ms: seen});
  }

  /** The page is hidden or left, perhaps for good: what is known is sent while there is time. */
  #pause() {
    this.#look();
    if (this.visit) this.visit.since = null;
    const batch = this.waiting.splice(0);
    if (batch.length > 0 && !navigator.sendBeacon(this.#address(), JSON.stringify(batch))) this.waiting.unshift(...batch);
  }

  #resume() {
    if (this.visit && this.visit.since === null) this.visit.since = performance.now();
  }

  #add(event) {
    if (!this.able) return;
    const {query_id, ...rest} = event;
    this.waiting.push({message_id: messageId(), timestamp: new Date().toISOString(), ...rest, ...(query_id && {query_id}), ...this.who()});
    this.waiting.splice(0, this.waiting.length - MOST_WAITING);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#send(), TOGETHER_MS);
  }

  /** Send what waits. What did not arrive is sent again later: the server counts each message once. */
  #send() {
    clearTimeout(this.timer);
    this.sending ??= this.#sent().finally(() => {
      this.sending = null;
      if (this.waiting.length > 0) this.timer = setTimeout(() => this.#send(), TOGETHER_MS * 4 ** this.failures);
    });
    return this.sending;
  }

  async #sent() {
    const batch = this.waiting.splice(0);
    if (batch.length === 0) return;
    const answer = await fetch(this.#address(), {method: "POST", body: JSON.stringify(batch), keepalive: true, credentials: "omit"}).catch(() => null);
    const again = !answer || answer.status === 429 || answer.status >= 500;
    this.failures = again ? this.failures + 1 : 0;
    if (again && this.failures <= PATIENCE) this.waiting.unshift(...batch);
    else this.failures = 0;
  }

  /** With the key in it, because a beacon carries no headers; text needs no preflight. */
  #address() {
    return `${this.client.url}/v1/events${this.client.key ? `?key=${encodeURIComponent(this.client.key)}` : ""}`;
  }
}

function messageId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
