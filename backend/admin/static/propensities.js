/* How often each rank is looked at, as the clicks tell: a curve with its interval, and which ranks were compared. */

import {facts, fill, h, number, percent} from "./elements.js";
import {curves, linked} from "./plots.js";

const chosen = new WeakMap();

/** `found` is the report of the step: days, clicks, trusted, reasons, contexts. */
export function showPropensities(place, found) {
  const contexts = found.contexts ?? [];
  place.hidden = contexts.length === 0;
  if (place.hidden) return;
  const name = chosen.get(place) ?? contexts[0].name;
  const context = contexts.find((one) => one.name === name) ?? contexts[0];
  const choose = (other) => {
    chosen.set(place, other);
    showPropensities(place, found);
    place.querySelector('.chip[aria-pressed="true"]')?.focus();
  };
  const changed = fill(place,
    h("div", {class: "section-head"}, h("h2", {}, "How often each rank is looked at"), trust(found.trusted)),
    h("p", {class: "soft lead"}, "Each rank beside the first, estimated from products that stood at several ranks for reasons of chance. ",
      `${number(Math.round(found.clicks))} clicks compare two ranks.`, ...found.reasons.map((reason) => ` ${reason}`)),
    contexts.length > 1 && h("div", {class: "chips", role: "group", "aria-label": "Context"}, contexts.map((one) =>
      h("button", {type: "button", class: "chip", "data-context": one.name, "aria-pressed": String(one === context)}, one.name, h("span", {class: "chip-count"}, number(Math.round(one.clicks)))))),
    h("div", {class: "columns"}, h("div", {class: "card padded"}, h("h3", {}, "Examination by rank"), curve(context), h("div", {class: "two"}, about(context))),
      h("div", {class: "card padded"}, h("h3", {}, "Which ranks were compared"), graph(context))));
  if (!changed) return;
  for (const chip of place.querySelectorAll(".chip")) chip.addEventListener("click", () => choose(chip.dataset.context));
}

function trust(trusted) {
  return h("span", {class: `tag ${trusted ? "good" : "warn"}`}, trusted ? "trusted" : "not trusted: the prior holds");
}

function curve({theta, low, high, harvested, likelihood, prior, naive}) {
  const by = (values) => (values ?? []).map((value, i) => [i + 1, value]);
  const series = [
    {name: "used", tone: "accent", points: by(theta), band: theta.map((_, i) => [i + 1, low[i], high[i]]), dots: true},
    {name: "least squares", tone: "ink", points: by(harvested), dashed: true},
    {name: "likelihood", tone: "soft", points: by(likelihood), dashed: true},
    {name: "assumed before", tone: "warn", points: by(prior), dashed: true},
    {name: "clicks by rank, uncorrected", tone: "clay", points: by(naive)},
  ];
  return curves({label: "Examination by rank, relative to the first", series, x: {label: "rank", format: String}, y: {from: 0, format: (value) => value.toFixed(2)}});
}

function graph({theta, pairs, connected, weakest}) {
  if (!pairs?.length) return h("p", {class: "soft"}, "No product stood at two ranks: nothing can be compared.");
  return h("figure", {class: "figure"}, linked({label: "Pairs of ranks that were compared", ranks: theta.length, pairs, connected, weakest}),
    h("figcaption", {class: "soft"}, "An arc for each pair of ranks that the same product stood at, as wide as it has clicks. Every rank must hang together with the first."));
}

const SOURCES = {estimated: "this night's estimate", kept: "the estimate of nights before", prior: "what was assumed before"};

function about({lists, clicks, pooled_with: pooled, source, harvest, reasons, connected, weakest, weakest_clicks: few, disagreement}) {
  return facts([
    ["Used", pooled ? `what ${pooled} comes to` : SOURCES[source]],
    ["Because", reasons.join(" ")],
    ["Lists", number(lists)],
    ["Clicks", `${number(Math.round(clicks))}${harvest === "coins" ? ", where coins moved products" : ""}`],
    ["Ranks linked", `${connected.filter(Boolean).length} of ${connected.length}`],
    ["Weakest link", weakest && `ranks ${weakest[0]} and ${weakest[1]}, ${number(Math.round(few))} clicks`],
    ["Two ways differ", `by ${percent(disagreement, 1)} at most`],
  ]);
}
