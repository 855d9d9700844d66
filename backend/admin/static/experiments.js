/* Experiments: who is in which arm, and what has come of it so far. */

import {call} from "./api.js";
import {facts, fill, h, percent, when, words} from "./elements.js";

const TONES = {running: "good", stopped: "warn"};

function tag(status) {
  return h("span", {class: `tag ${TONES[status] ?? ""}`}, status);
}

export async function showExperiments(view) {
  const {experiments} = await call("GET", "/v1/experiments?limit=200");
  fill(view, experiments.length ? h("table", {class: "table card"}, h("caption", {class: "visually-hidden"}, "Experiments, newest first"),
    h("thead", {}, h("tr", {}, ["Experiment", "Status", "Arms", "Shoppers", "Began"].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, experiments.map((one) => h("tr", {},
      h("td", {"data-label": "Experiment", class: "breaks"}, h("a", {class: "link", href: `/admin/experiments/${one.id}`}, one.name), h("div", {class: "soft"}, `${one.id} · ${one.method === "ab" ? "A/B" : "interleaved"}`)),
      h("td", {"data-label": "Status"}, tag(one.status)),
      h("td", {"data-label": "Arms"}, one.arms.map((arm) => arm.name).join(" against ")),
      h("td", {"data-label": "Shoppers"}, percent(one.traffic * one.coverage, 1)),
      h("td", {"data-label": "Began"}, one.started_at ? when(one.started_at) : "not yet")))))
    : h("p", {class: "card empty soft"}, "There is none. Everybody is served by the live generation."));
  const running = experiments.filter((one) => one.status === "running").length;
  return {title: "Experiments", summary: running ? `${running} running.` : "None is running."};
}

export async function showExperiment(view, id) {
  const one = await call("GET", `/v1/experiments/${id}`);
  fill(view, h("section", {}, h("div", {class: "columns even"}, h("div", {class: "card padded"}, facts([
    ["Layer", one.layer], ["Compares by", words(one.metric)], ["Shoppers", percent(one.traffic * one.coverage, 1)],
    ["Began", one.started_at && when(one.started_at)], ["Ended", one.ended_at && when(one.ended_at)], ["Made by", one.actor]])),
  h("div", {class: "card padded"}, facts(one.arms.map((arm) => [arm.name, arm.generation ? h("a", {href: `/admin/generations/${arm.generation}`}, arm.generation) : "what is live"]))))));
  return {title: one.name, summary: h("span", {class: "with-tag"}, tag(one.status), one.method === "ab" ? "A/B" : "interleaved")};
}
