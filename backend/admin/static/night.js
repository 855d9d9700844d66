/* One night: what it was given, how far it came, what was estimated, what was trained, and what its gates said. */

import {call} from "./api.js";
import {showArms} from "./arms.js";
import {facts, fill, h, number, percent, took, when, words} from "./elements.js";
import {showGates} from "./gates.js";
import {nameOf, outcomeTag, period, sentenceOf, stepList} from "./nights.js";
import {showPropensities} from "./propensities.js";
import {showWaits} from "./waits.js";

const LIVE_MS = 1500;
const REST_MS = 30000;
const PLACES = ["about", "labels", "propensities", "arms", "gates", "missing"];

export async function showNight(view, id) {
  const night = await call("GET", `/v1/nights/${id}`);
  if (!view.querySelector(".about")) view.replaceChildren(...PLACES.map((name) => h("section", {class: name, hidden: true})));
  const place = Object.fromEntries(PLACES.map((name) => [name, view.querySelector(`.${name}`)]));
  const {labels, propensities, arms, night: verdict} = night.report;
  place.about.hidden = false;
  fill(place.about, h("div", {class: "card padded wide-steps"}, stepList(night.steps)), h("div", {class: "card padded two"}, about(night)));
  showLabels(place.labels, labels ?? {});
  showPropensities(place.propensities, propensities ?? {});
  showArms(place.arms, verdict?.arms ?? [], Object.values(arms ?? {}));
  showGates(place.gates, verdict ?? {});
  showWaits(place.missing, verdict?.waits ?? []);
  return {title: nameOf(night), pause: night.state === "running" ? LIVE_MS : REST_MS, summary: h("span", {class: "with-tag"}, outcomeTag(night), h("span", {}, sentenceOf(night)))};
}

function about(night) {
  const generation = (name) => name && h("a", {href: `/admin/generations/${name}`}, name);
  return facts([
    ["Learned from", period(night.window_from, night.window_to)],
    ["Compared with", generation(night.production)],
    ["Made", generation(night.generation)],
    ["Trial", trial(night.report.screen)],
    ["Guard", trial(night.report.guard)],
    ["Heads of", night.item_heads ? "queries and items" : "queries"],
    ["Begun", h("span", {}, when(night.started_at), night.actor && ` by ${night.actor}`)],
    ["Took", night.ended_at && took(night.started_at, night.ended_at)],
    ["Seed", String(night.seed)],
    ["Went wrong", night.error && h("span", {class: "trouble"}, night.error)],
  ]);
}

/** What a screen or a guard has come to, and the way to it. */
function trial(one) {
  return one && h("span", {}, one.experiment && [h("a", {href: `/admin/experiments/${one.experiment}`}, one.experiment), ` ${one.state}: `], one.sentence);
}

const COUNTED = [["lists", "lists"], ["rows", "products shown"], ["viewed", "seen"], ["clicked", "clicked"], ["satisfied", "satisfied"], ["units", "shoppers"]];

/** What became of the lists that were served: how many were seen and clicked, and what was left out. */
function showLabels(place, log) {
  place.hidden = log.lists === undefined;
  if (place.hidden) return;
  const left = Object.entries(log.left_out ?? {}).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...left.map(([, n]) => n));
  fill(place, h("h2", {}, "What shoppers did"), h("div", {class: "columns"},
    h("div", {class: "card tally"}, h("h3", {}, "Learned from"), h("dl", {class: "numbers"}, COUNTED.filter(([name]) => log[name] !== undefined).map(([name, label]) => h("div", {}, h("dt", {}, label), h("dd", {}, number(log[name]))))),
      log.viewed > 0 && h("p", {class: "soft"}, `Of what was seen, ${percent(log.clicked / log.viewed, 1)} was clicked; what was not seen says nothing.`)),
    h("div", {class: "card tally"}, h("h3", {}, "Left out"), left.length ? h("ul", {class: "bars wide"}, left.map(([reason, n]) => h("li", {}, h("span", {}, words(reason)), h("progress", {max: String(most), value: String(n), "aria-hidden": "true"}), h("b", {}, number(n)))))
      : h("p", {class: "soft"}, "Nothing."))));
}
