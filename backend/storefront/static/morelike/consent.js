/* Whether it may be told what a shopper does, and under which ids. Nothing is kept in the browser before that. */

import {forget, keep, randomName, recall} from "./memory.js";

const CHOICE = "consent";
const CHOSEN = "morelike-consent";
const SESSION_IDLE_MS = 30 * 60 * 1000;
const OF_SHOPPERS = ["shopper", "session", "lists", "unsent", "away"];  // what is kept under names of this kind is forgotten with the consent

export class Consent {
  /** `mode`: on (until it is withdrawn), consent (once it is given) or off. `onchange(given)` hears when it turns. */
  constructor(mode, onchange) {
    if (!["on", "off", "consent"].includes(mode)) throw new Error(`Morelike: collect is ${JSON.stringify(mode)}; expected "on", "off" or "consent"`);
    this.mode = mode;
    this.was = this.given;
    const turned = () => this.given !== this.was && onchange((this.was = this.given));
    addEventListener(CHOSEN, turned);
    addEventListener("storage", ({key}) => (key === null || key === `morelike-${CHOICE}`) && turned());  // chosen in another tab
  }

  get given() {
    if (this.mode === "off" || navigator.doNotTrack === "1" || navigator.globalPrivacyControl) return false;
    return recall(CHOICE) ?? this.mode === "on";
  }
}

/** The shopper agrees, or does not any longer: remembered, and everything that was kept without being agreed to is forgotten. */
export function choose(agreed) {
  if (typeof agreed !== "boolean") throw new TypeError(`Morelike: consent(${JSON.stringify(agreed)}); expected true or false`);
  keep(CHOICE, agreed);
  if (!agreed) forget(...OF_SHOPPERS);
  dispatchEvent(new Event(CHOSEN));
}

/** The ids of who searches: `shopper` and `user` are the page's own; without one, the shopper has a random name in this browser. */
export class Identity {
  constructor(consent, {shopper = null, user = null}) {
    Object.assign(this, {consent, shopper, user});
  }

  /** {shopper_id, session_id, user_id}; nothing at all without consent. */
  get ids() {
    if (!this.consent.given) return {};
    return {shopper_id: String(this.shopper ?? anonymous()), session_id: session(), ...(this.user !== null && {user_id: String(this.user)})};
  }
}

function anonymous() {
  const kept = recall("shopper");
  if (typeof kept === "string") return kept;
  const id = randomName();
  keep("shopper", id);
  return id;
}

/** One session is what is done without a pause of half an hour, in all tabs together. */
function session() {
  const kept = recall("session");
  const now = Date.now();
  const id = kept?.id && Math.abs(now - kept.at) < SESSION_IDLE_MS ? kept.id : randomName();
  keep("session", {id, at: now});
  return id;
}
