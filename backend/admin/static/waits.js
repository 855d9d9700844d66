/* What each gate still waits for: how much there is, how much it needs, and how long that takes as things go. */

import {fill, h, number} from "./elements.js";

/** `waits`: [{gate, what, found, needed, per_day}]; those that have enough are left out. */
export function showWaits(place, waits) {
  const missing = waits.filter((one) => one.found < one.needed);
  place.hidden = missing.length === 0;
  fill(place, h("h2", {}, "What each gate waits for"), h("ul", {class: "waits", role: "list"}, missing.map((one) => h("li", {class: "card wait"},
    h("div", {class: "with-tag"}, h("span", {class: "tag"}, one.gate), h("b", {}, sentence(one))),
    h("progress", {max: "1", value: Math.min(1, one.found / one.needed).toFixed(3), "aria-label": one.what}),
    h("small", {}, time(one))))));
}

function sentence({what, found, needed}) {
  return `${number(round(found))} of ${number(round(needed))} ${what}`;
}

/** "about 41 days at this rate" */
function time({found, needed, per_day: perDay}) {
  if (perDay === null) return "it does not come by itself";
  if (perDay <= 0) return "none came lately";
  const days = Math.ceil((needed - found) / perDay);
  return `about ${days === 1 ? "one day" : `${number(days)} days`} at this rate`;
}

function round(value) {
  return value >= 10 ? Math.round(value) : Number(value.toPrecision(2));
}
