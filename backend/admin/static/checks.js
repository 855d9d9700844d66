/* The checklist: what is missing stands open with its next step, what is done is one line. */

import {command, fill, h, icon} from "./elements.js";

const WORDS = {done: "Done", todo: "To do", problem: "Needs attention", optional: "Optional"};
const ORDER = {problem: 0, todo: 1, optional: 2, done: 3};

export function showChecks(place, checks) {
  const sorted = [...checks].sort((a, b) => ORDER[a.state] - ORDER[b.state]);
  fill(place, sorted.map(item)) && listen(place);
}

function item({id, title, state, fact, steps, docs}) {
  const head = [h("span", {class: "mark", title: WORDS[state]}, icon(state)), h("span", {class: "check-title"}, title),
    h("span", {class: "visually-hidden"}, `${WORDS[state]}.`)];
  if (state === "done") {
    return h("li", {class: `check ${state}`, "data-check": id}, h("div", {class: "check-head"}, head, h("span", {class: "check-fact"}, fact)));
  }
  return h("li", {class: `check ${state}`, "data-check": id},
    h("details", {open: state !== "optional"},
      h("summary", {class: "check-head"}, head),
      h("div", {class: "check-body"},
        h("p", {class: "check-fact"}, fact),
        steps.length > 0 && h("ol", {class: "check-steps"}, steps.map((step) => h("li", {}, h("span", {}, step.say), step.command && command(step.command)))),
        h("p", {class: "docs"}, "See ", h("code", {}, docs)))));
}

/** Keep what was folded away folded: written down as it is asked for, since the toggle event comes later than a new look may. */
function listen(place) {
  for (const details of place.querySelectorAll("details")) {
    const key = `morelike-folded-${details.closest("[data-check]").dataset.check}`;
    if (sessionStorage.getItem(key)) details.open = sessionStorage.getItem(key) === "open";
    details.querySelector("summary").addEventListener("click", () => sessionStorage.setItem(key, details.open ? "closed" : "open"));
  }
}

/** One sentence about all of it. */
export function summary({done, todo, problem}) {
  if (problem) return `${problem} ${problem === 1 ? "thing needs" : "things need"} attention; ${done} of ${done + todo + problem} steps are done.`;
  if (todo) return `${done} of ${done + todo} steps are done.`;
  return "Everything is set up.";
}
