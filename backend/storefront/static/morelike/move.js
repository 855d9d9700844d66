/* What a card says of its move: from where, and why. */

import {h, icon} from "./elements.js";

const SHOWN_REASONS = 2;

export class Move {
  constructor(texts, client) {
    Object.assign(this, {texts, client});
    this.badge = h("span", {class: "card-moved", hidden: true});
    this.reason = h("p", {class: "card-why", hidden: true});
  }

  /** `hit` has moved because of `turn`, {said, known}; without one nothing has moved. `known(id)` is {title, image} or null. */
  show({position, previous_position: before, because}, turn) {
    const moved = turn !== null && before !== position;
    this.badge.hidden = !moved;
    this.reason.hidden = true;
    if (!moved) return;
    const rose = before === null || before === undefined || before > position;
    this.badge.classList.toggle("fell", !rose);
    this.badge.replaceChildren(...this.#from(before, position, rose));
    const reasons = rose ? this.#reasons(because ?? [], turn) : [];
    this.reason.hidden = reasons.length === 0;
    this.reason.replaceChildren(...reasons);
  }

  #from(before, position, rose) {
    if (before === null || before === undefined) return [icon("spark"), this.texts.newHere];
    return [icon(rose ? "up" : "down"), h("span", {"aria-hidden": "true"}, `${before} → ${position}`),
      h("span", {class: "visually-hidden"}, this.texts.movedFrom.replace("{from}", before).replace("{to}", position))];
  }

  #reasons(because, {said, known}) {
    const liked = because.slice(0, SHOWN_REASONS).map(known).filter(Boolean);
    if (liked.length > 0) return [this.texts.becauseLiked, ...liked.map((product) => this.#likeness(product))];
    if (said?.text) return [this.texts.becauseSaid.replace("{text}", said.text)];
    if (said?.parts?.length) return [this.texts.becausePart];
    return [];
  }

  #likeness({title, image}) {
    const source = this.client.imageUrl(image, 320);
    return source ? h("img", {src: source, alt: title, title, width: "22", height: "22", loading: "lazy"}) : h("span", {}, title);
  }
}
