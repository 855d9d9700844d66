/* What each gate still waits for: how much there is, how much it needs, and how long that takes as things go. */

import {fill, h, number, when} from "./elements.js";

/** The last night in a sentence, the way to all of them, and what is waited for. */
export function showLearning(place, {at, running, last, waits}) {
  fill(place, h("div", {class: "card night-line"},
    h("p", {}, last ? [last.sentence || "The last night was cancelled.", " ", h("small", {}, when(last.ended_at))] : at === "off" ? "Nobody learns at night." : `There was no night yet; the first begins at ${at} UTC.`),
    h("a", {class: "button small", href: running ? `/admin/nights/${running}` : "/admin/learning"}, running ? "A night is under way" : "All nights")),
  waits.length > 0 && [h("h3", {}, "What each gate waits for"), list(waits)]);
}

/** `waits`: [{gate, what, found, needed, per_day}]; those that have enough are left out. */
export function showWaits(place, waits) {
  const missing = waits.filter((one) => one.found < one.needed);
  place.hidden = missing.length === 0;
  fill(place, h("h2", {}, "What each gate waits for"), list(missing));
}

function list(waits) {
  return h("ul", {class: "waits", role: "list"}, waits.map((one) => h("li", {class: "card wait"},
    h("div", {class: "with-tag"}, h("span", {class: "tag"}, one.gate), h("b", {}, sentence(one))),
    h("progress", {max: "1", value: Math.min(1, one.found / one.needed).toFixed(3), "aria-label": one.what}),
    h("small", {}, time(one)))));
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
