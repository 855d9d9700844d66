/* Where the shopper has been: the browser's history, with what was served at each place. */

import {UNTOUCHED} from "./turns.js";

const KEPT_PLACES = 30;

export class Journey {
  /** `onarrive(entry, place)` is called when Back, Forward or a changed address leads somewhere else. */
  constructor(address, onarrive) {
    this.address = address;
    this.entries = new Map();
    this.run = Math.random().toString(36).slice(2);  // entries of an earlier load of the page are not ours
    this.number = 0;
    addEventListener("popstate", (event) => onarrive(this.#entryOf(event.state), this.read()));
  }

  read() {
    return this.address.read();
  }

  /** The first place: nothing is added to the history. */
  begin(state) {
    this.#enter(state, {facets: this.session()?.facets});
    this.#write("replaceState", location.href, 0);
  }

  /** The turns that the history keeps for the place where the page is, also over a reload: {begin, turns, at, facets}, or null. */
  session() {
    return history.state?.morelike?.session ?? null;
  }

  /** A place of an earlier load of the page, found again by Back or Forward. */
  adopt(state) {
    this.#enter(state, {facets: this.session()?.facets});
    this.#write("replaceState", location.href, history.state?.morelike?.depth ?? 0);
  }

  /** A new search; the same one again, or one `inPlace`, stays where it is. `served` is what is known to be shown there. */
  visit(state, served = {}, {inPlace = false} = {}) {
    const address = this.address.of(state);
    const same = address === `${location.pathname}${location.search}${location.hash}`;
    this.#enter(state, served);
    this.#write(same || inPlace ? "replaceState" : "pushState", address, 0);
  }

  /** What was served at the place where we are. */
  remember(served) {
    Object.assign(this.entries.get(this.number) ?? {}, served);
  }

  /** A product page over the results of `state`; a search that was only typed gets its own place first. */
  visitProduct(state, id, served) {
    const depth = (history.state?.morelike?.depth ?? 0) + 1;
    if (depth === 1 && this.address.mode !== "off") {
      this.visit(state);
      this.remember(served);
    }
    this.#write("pushState", this.address.of(state, id), depth);
  }

  /** Back to the results under the product page, however many products lie between. */
  leaveProduct(state) {
    const depth = history.state?.morelike?.depth ?? 0;
    if (depth > 0) {
      history.go(-depth);
      return;
    }
    this.#write("replaceState", this.address.of(state), 0);
    dispatchEvent(new PopStateEvent("popstate", {state: history.state}));
  }

  #enter(state, served = {}) {
    this.number += 1;
    this.entries.set(this.number, {...served, state});
    for (const old of [...this.entries.keys()].slice(0, -KEPT_PLACES)) this.entries.delete(old);
  }

  #write(how, address, depth) {
    const {state: {begin, turns, at}, answer, facets} = this.entries.get(this.number) ?? {state: UNTOUCHED};
    const session = turns.length > 0 ? {begin, turns, at, facets: answer?.facets ?? facets ?? null} : null;
    const here = {...history.state, morelike: {run: this.run, number: this.number, depth, session}};
    history[how](here, "", this.address.mode === "off" ? undefined : address);
  }

  #entryOf(state) {
    const place = state?.morelike;
    if (place?.run !== this.run) return null;
    this.number = place.number;
    return this.entries.get(place.number) ?? null;
  }
}
