/* One list as a grid of four columns; what moves glides. */

import {h, still} from "./elements.js";

const MEANT = 3;
const COLUMNS = 4;

export const isMeant = (hit) => hit.grade !== null && hit.grade >= MEANT;

export class Grid {
  /** `open`: called with the hit that is opened; none where nothing can be. */
  constructor(place, open = null) {
    this.place = place;
    this.open = open;
    this.hits = [];
    this.cards = new Map();
  }

  /** Show `hits`; `followed` is ringed, `before` says at which place it stood at night 0. */
  show(hits, followed, before = null) {
    const from = new Map([...this.cards].map(([id, card]) => [id, card.getBoundingClientRect()]));
    const kept = this.cards;
    this.cards = new Map(hits.map((hit) => [hit.product_id, kept.get(hit.product_id) ?? card(hit)]));
    this.hits = hits;
    this.place.replaceChildren(...hits.map((hit, place) => this.placed(hit, place, followed, before)));
    if (!still.matches) for (const [id, one] of this.cards) glide(one, from.get(id), kept.size > 0);
  }

  placed(hit, place, followed, before) {
    const one = this.cards.get(hit.product_id);
    one.classList.toggle("meant", isMeant(hit));
    one.classList.toggle("followed", hit.product_id === followed);
    one.querySelector(".rank").textContent = place + 1;
    const moved = hit.product_id === followed && before !== null && before !== place;
    one.querySelector(".moved").textContent = moved ? `${before + 1} → ${place + 1}` : "";
    const button = one.querySelector("button");
    button.disabled = !this.open;
    button.onclick = () => this.open?.(hit, place);
    const meaning = isMeant(hit) ? ", meant" : "";
    button.setAttribute("aria-label", `${place + 1}: ${hit.caption || hit.title}${meaning}${moved ? `, was ${before + 1}` : ""}`);
    return one;
  }

  /** How much of the attention each place has got: `looked` and `clicked` are shares of what was shown there. */
  attention(looked, clicked) {
    for (const [place, hit] of this.hits.entries()) {
      const {style} = this.cards.get(hit.product_id);
      style.setProperty("--looked", looked?.[place] ?? 0);
      style.setProperty("--clicked", clicked?.[place] ?? 0);
    }
  }

  /** Centre of a place in the grid, in pixels from its corner; behind the last row there is none. */
  centre(place) {
    const hit = this.hits[place];
    if (!hit) return null;
    const box = this.place.getBoundingClientRect();
    const own = this.place.children[place].getBoundingClientRect();
    return [own.left - box.left + own.width / 2, own.top - box.top + own.height / 2, own.width];
  }

  mark(id, name) {
    this.cards.get(id)?.classList.add(name);
  }

  get columns() {
    return COLUMNS;
  }
}

function card(hit) {
  const picture = hit.image ? h("img", {src: `${hit.image}?w=160`, alt: "", width: 160, height: 160, draggable: "false"}) : null;
  return h("li", {class: "card", "data-product": hit.product_id},
    h("button", {type: "button"}, picture, h("span", {class: "rank", "aria-hidden": "true"}), h("span", {class: "moved", "aria-hidden": "true"}), h("span", {class: "heat", "aria-hidden": "true"})));
}

function glide(one, before, others) {
  if (before) {
    const now = one.getBoundingClientRect();
    const [x, y] = [before.left - now.left, before.top - now.top];
    if (x || y) one.animate([{translate: `${x}px ${y}px`}, {translate: "0 0"}], {duration: 620, easing: "cubic-bezier(.2,.7,.2,1)"});
  } else if (others) {
    one.animate([{opacity: 0, scale: .8}, {opacity: 1, scale: 1}], {duration: 420, easing: "ease-out"});
  }
}
