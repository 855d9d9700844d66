/* What the gates said: each with what it found beside what it needs, intervals on one scale, and why it refused. */

import {fill, h, icon, number} from "./elements.js";
import {interval, short} from "./plots.js";

const VERDICTS = [[true, "done", "passed"], [false, "problem", "refused"], [null, "optional", "not tested"]];

/** `report` is a night's verdict: sentence, reasons, gates with their checks. */
export function showGates(place, report) {
  const gates = report.gates ?? [];
  place.hidden = gates.length === 0;
  if (place.hidden) return;
  fill(place, h("div", {class: "section-head"}, h("h2", {}, "What the gates said"), h("span", {class: `tag ${report.passed ? "good" : "warn"}`}, report.passed ? "may go live" : route(report.route))),
    report.sentence && h("p", {class: "lead"}, report.sentence),
    h("div", {class: "gates-list"}, gates.map(gate)));
}

function route(name) {
  return name === "screen" ? "to be tried on a few shoppers" : "no update";
}

function gate({id, title, passed, reasons, checks}) {
  const [, mark, said] = VERDICTS.find(([verdict]) => verdict === passed) ?? VERDICTS[2];
  const state = {done: "done", problem: "problem", optional: "untested"}[mark];
  return h("details", {class: `card gate ${state}`, "data-gate": id, open: passed !== true || checks.some((one) => hasInterval(one))},
    h("summary", {class: "gate-head"}, h("span", {class: "mark"}, icon(mark)), h("b", {}, id), h("span", {class: "gate-title"}, title), h("span", {class: "soft"}, said)),
    h("div", {class: "gate-body"}, (reasons ?? []).map((reason) => h("p", {class: passed === false ? "trouble" : "soft"}, reason)),
      checks.length > 0 && table(checks)));
}

function hasInterval({low, high}) {
  return typeof low === "number" && typeof high === "number";
}

function table(checks) {
  const drawn = checks.filter(hasInterval);
  const scale = drawn.length > 0 && scaleOf(drawn);
  return h("table", {class: "grid-table forest"}, h("caption", {class: "visually-hidden"}, "Checks of this gate"),
    h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Check"), h("th", {scope: "col", class: "found"}, "Found"), h("th", {scope: "col", class: "wide"}, scale && ends(scale)), h("th", {scope: "col", class: "asked"}, "Needed"), h("th", {scope: "col", class: "verdict"}, h("span", {class: "visually-hidden"}, "Verdict")))),
    h("tbody", {}, checks.map((one) => row(one, scale))));
}

function row(check, scale) {
  const {name, found, expected, passed, low, high, sense} = check;
  const tone = passed === false ? "bad" : passed === true ? "good" : "soft";
  const [, mark, said] = VERDICTS.find(([verdict]) => verdict === passed) ?? VERDICTS[2];
  return h("tr", {class: tone}, h("th", {scope: "row"}, name),
    h("td", {class: "found"}, value(found), hasInterval(check) && h("small", {}, ` ${value(low)} to ${value(high)}`)),
    h("td", {class: "wide"}, hasInterval(check) && interval({low, high, found: typeof found === "number" ? found : (low + high) / 2, needed: expected, tone}, scale)),
    h("td", {class: "asked"}, asked(sense, expected)), h("td", {class: "verdict", title: said}, icon(mark), h("span", {class: "visually-hidden"}, said)));
}

/** "at least 0.98" */
function asked(sense, expected) {
  return expected === null || sense === "told" ? "–" : `at ${sense} ${value(expected)}`;
}

function scaleOf(checks) {
  const values = checks.flatMap(({low, high, expected}) => [low, high, expected]).concat(0).filter((one) => Number.isFinite(one));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || 1) * 0.05;
  return [low - room, high + room];
}

function ends([from, to]) {
  return h("span", {class: "ends"}, h("span", {}, short(from)), h("span", {}, short(to)));
}

/** Anything that a report says, as people read it. */
export function value(found) {
  if (found === null || found === undefined) return "–";
  if (found === true || found === false) return found ? "yes" : "no";
  if (typeof found === "number") return Number.isInteger(found) ? number(found) : short(found);
  if (Array.isArray(found)) return found.map(value).join(", ") || "none";
  if (typeof found === "object") return Object.entries(found).map(([name, one]) => `${name} ${value(one)}`).join(", ");
  return String(found);
}
