/* Generations: what each searches with, where it came from, and what its gates said. */

import {call} from "./api.js";
import {facts, fill, h, number, when, words} from "./elements.js";
import {showGates, value} from "./gates.js";
import {nameOf, period} from "./nights.js";

const TONES = {live: "good", ready: "good", trained: "warn", rejected: "bad", failed: "bad"};

function tag(state) {
  return h("span", {class: `tag ${TONES[state] ?? ""}`}, state);
}

export async function showGenerations(view) {
  const {generations} = await call("GET", "/v1/generations?limit=200");
  fill(view, generations.length ? h("table", {class: "table card"}, h("caption", {class: "visually-hidden"}, "Generations, newest first"),
    h("thead", {}, h("tr", {}, ["Generation", "State", "Encoder", "Heads", "Made"].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, generations.map((one) => h("tr", {},
      h("td", {"data-label": "Generation"}, h("a", {class: "link", href: `/admin/generations/${one.id}`}, one.id)),
      h("td", {"data-label": "State"}, tag(one.state)),
      h("td", {"data-label": "Encoder", class: "breaks"}, one.encoder),
      h("td", {"data-label": "Heads"}, Object.keys(one.heads).map(words).join(", ") || "none"),
      h("td", {"data-label": "Made"}, when(one.created_at))))))
    : h("p", {class: "card empty soft"}, "There is none yet."));
  const live = generations.find((one) => one.state === "live");
  return {title: "Generations", summary: live ? `${live.id} is live.` : "None is live."};
}

export async function showGeneration(view, id) {
  const [one, {nights}] = await Promise.all([call("GET", `/v1/generations/${id}`), call("GET", "/v1/nights?limit=500")]);
  const {events, night: by, production, seed, ...others} = one.data_range;
  const night = nights.find((made) => made.generation === id) ?? (by && {id: by});
  if (!view.querySelector(".about")) view.replaceChildren(...["about", "gates", "adapter"].map((name) => h("section", {class: name})));
  const [about, gates, adapter] = ["about", "gates", "adapter"].map((name) => view.querySelector(`.${name}`));
  fill(about, h("div", {class: "columns even"}, h("div", {class: "card padded"}, h("h3", {}, "What it searches with"), facts([
    ["Encoder", one.encoder], ["Index build", `b${one.build}`],
    ["Heads", Object.entries(one.heads).map(([side, {alpha, gamma}]) => `${words(side)} (α ${alpha}, γ ${gamma})`).join(", ") || "none: the encoder as it is"],
    ["Captions", one.calibration.caption_weight !== undefined && `weigh ${one.calibration.caption_weight} beside pictures`],
    ["Measured on", one.calibration.products !== undefined && `${number(one.calibration.products)} products`],
    ["Went live", one.live_at && when(one.live_at)], ["Stepped down", one.retired_at && when(one.retired_at)],
    ["Code", one.code_version]])),
  h("div", {class: "card padded"}, h("h3", {}, "Where it came from"), facts([
    ["Made", when(one.created_at)],
    ["Night", night && h("a", {href: `/admin/nights/${night.id}`}, nameOf(night))],
    ["Replaced", one.replaced && h("a", {href: `/admin/generations/${one.replaced}`}, one.replaced)],
    ["Learned from", events && period(events.from, events.to)],
    ["Compared with", production && h("a", {href: `/admin/generations/${production}`}, production)],
    ["Seed", seed !== undefined && String(seed)],
    ...Object.entries(others).map(([name, range]) => [words(name), value(range)]),
    ["Not live because", one.reasons.join(" ")]]))));
  showGates(gates, one.gate_report.night ?? {});
  return {title: `Generation ${one.id}`, summary: tag(one.state)};
}
