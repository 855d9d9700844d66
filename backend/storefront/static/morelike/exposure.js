/* Which products of a list were really in sight, and for how long. */

const HALF = 0.5;
const LONG_ENOUGH_MS = 500;
const TOLD_AFTER_MS = 1000;
const MOST_ITEMS = 100;
const STEPS = Array.from({length: 11}, (_, step) => step / 10);

export class Exposure {
  /** `tell(queryId, items)` hears {product_id, visible_share, visible_ms} of what was seen since it last heard of it. */
  constructor(tell) {
    Object.assign(this, {tell, queryId: null, cards: new Map(), places: new Map(), seen: new Map(), watching: true});
    this.observer = new IntersectionObserver((entries) => this.#crossed(entries), {threshold: STEPS});
  }

  /** From now on the list `queryId` is shown on `cards`: product id -> element. Without an id nothing is counted. */
  show(queryId, cards) {
    const shown = queryId ? cards : new Map();
    const now = performance.now();
    for (const [id, card] of this.cards) {
      if (queryId === this.queryId && shown.get(id) === card.element) continue;
      this.#end(card, now);
      if (shown.get(id) === card.element) continue;
      this.observer.unobserve(card.element);
      this.places.delete(card.element);
      this.cards.delete(id);
    }
    this.queryId = queryId;
    for (const [id, element] of shown) this.#watch(id, element, now);
  }

  /** Whether anybody can see the list: the page is not hidden, and nothing lies over it. */
  watch(watching) {
    if (watching === this.watching) return;
    this.watching = watching;
    const now = performance.now();
    for (const card of this.cards.values()) watching ? this.#begin(card, now) : this.#end(card, now);
  }

  /** Tell what was seen so far, also of what is still in sight. */
  flush() {
    const now = performance.now();
    for (const card of this.cards.values()) if (card.counts) this.#count(card, now);
    this.#tell();
  }

  /** What was seen is not told. */
  forget() {
    clearTimeout(this.timer);
    this.timer = null;
    this.seen.clear();
  }

  #watch(id, element, now) {
    const card = this.cards.get(id);
    if (card) return this.#begin(card, now);
    const fresh = {id, element, ratio: 0, inSight: false, since: null, counts: false, share: 0};
    this.cards.set(id, fresh);
    this.places.set(element, fresh);
    this.observer.observe(element);
    return undefined;
  }

  #crossed(entries) {
    for (const {target, time, intersectionRatio, intersectionRect, rootBounds} of entries) {
      const card = this.places.get(target);
      if (!card) continue;
      card.ratio = intersectionRatio;
      // a card that is larger than the window is in sight when it fills half of it
      card.inSight = intersectionRatio >= HALF || (rootBounds !== null && intersectionRect.height >= HALF * rootBounds.height);
      if (card.inSight) this.#begin(card, time);
      else this.#end(card, time);
      card.share = Math.max(card.share, card.ratio);
    }
  }

  #begin(card, at) {
    if (!card.inSight || !this.watching || card.since !== null) return;
    Object.assign(card, {since: at, share: card.ratio});
    card.timer = setTimeout(() => this.#count(card, performance.now()), LONG_ENOUGH_MS - (performance.now() - at));
  }

  #end(card, at) {
    if (card.since === null) return;
    clearTimeout(card.timer);
    if (card.counts || at - card.since >= LONG_ENOUGH_MS) this.#count(card, at);
    Object.assign(card, {since: null, counts: false});
  }

  /** The time since the last count was time in sight. */
  #count(card, now) {
    if (!this.seen.has(this.queryId)) this.seen.set(this.queryId, new Map());
    const items = this.seen.get(this.queryId);
    const item = items.get(card.id) ?? {ms: 0, share: 0};
    items.set(card.id, {ms: item.ms + Math.max(0, now - card.since), share: Math.max(item.share, card.share)});
    Object.assign(card, {since: now, counts: true});
    this.timer ??= setTimeout(() => this.#tell(), TOLD_AFTER_MS);
  }

  #tell() {
    clearTimeout(this.timer);
    this.timer = null;
    for (const [queryId, items] of this.seen) {
      const said = [...items].map(([id, {ms, share}]) => ({
        product_id: id, visible_share: Math.min(1, Math.round(share * 100) / 100), visible_ms: wholeMs(ms),
      }));
      for (let from = 0; from < said.length; from += MOST_ITEMS) this.tell(queryId, said.slice(from, from + MOST_ITEMS));
    }
    this.seen.clear();
  }
}

/** Milliseconds as an event says them: whole, and a day at most. */
export function wholeMs(ms) {
  return Math.min(24 * 3600 * 1000, Math.max(0, Math.round(ms)));
}

/** How many of `elements` stand side by side in the first row; null where they are not laid out. */
export function columnsOf(elements) {
  const [first] = elements;
  if (!first?.offsetParent) return null;
  const next = elements.findIndex((element) => element.offsetTop > first.offsetTop + 1);
  return Math.min(20, next < 0 ? elements.length : next);
}
