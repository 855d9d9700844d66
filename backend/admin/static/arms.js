/* What was trained: each arm as it learned, what it gained on validation, and what it kept at each scale. */

import {fill, h} from "./elements.js";
import {value} from "./gates.js";
import {curves} from "./plots.js";

const TONES = ["accent", "clay", "ink", "warn", "soft"];

/** `arms`: those that were compared; `trained`: the report of the step, by arm. */
export function showArms(place, arms, trained) {
  place.hidden = arms.length === 0;
  if (place.hidden) return;
  fill(place, h("h2", {}, "What was trained"), h("div", {class: "scroll card"}, table(arms)), h("div", {class: "columns even"}, learning(trained), scaling(trained)));
}

function table(arms) {
  const measured = [...new Set(arms.flatMap((arm) => Object.keys(arm.validation ?? {})))];
  return h("table", {class: "grid-table arms-table"}, h("caption", {class: "visually-hidden"}, "Arms"),
    h("thead", {}, h("tr", {}, ["Arm", ...measured, "Scale γ", "Retention", ""].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, arms.map((arm) => h("tr", {class: arm.chosen ? "chosen" : null}, h("th", {scope: "row"}, arm.name),
      measured.map((name) => h("td", {}, value(arm.validation?.[name]))), h("td", {}, value(arm.gamma)), h("td", {}, value(arm.retention)),
      h("td", {}, arm.chosen && h("span", {class: "tag good"}, "chosen"))))));
}

function learning(trained) {
  return null;
}

function scaling(trained) {
  return null;
}
