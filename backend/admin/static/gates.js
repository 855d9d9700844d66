/* What the gates said: each with what it found beside what it needs, intervals on one scale, and why it refused. */

import {fill, h, icon, number} from "./elements.js";
import {bullet, columns, interval, short} from "./plots.js";

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

function gate({id, title, passed, reasons, checks, plots}) {
  const [, mark, said] = VERDICTS.find(([verdict]) => verdict === passed) ?? VERDICTS[2];
  const state = {done: "done", problem: "problem", optional: "untested"}[mark];
  const drawn = new Set((plots.estimators ?? []).flatMap(({name}) => [`${name} of candidate`, `${name} of production`]));
  const told = checks.filter((one) => one.sense === "told" && !drawn.has(one.name));
  const asked = checks.filter((one) => one.sense !== "told");
  const onScale = new Set((plots.assumptions ?? []).map(({name}) => `gain, ${name}`));
  return h("details", {class: `card gate ${state}`, "data-gate": id, open: passed !== true || asked.some(hasInterval)},
    h("summary", {class: "gate-head"}, h("span", {class: "mark"}, icon(mark)), h("b", {}, id), h("span", {class: "gate-title"}, title), h("span", {class: "soft"}, said)),
    h("div", {class: "gate-body"}, reasons.map((reason) => h("p", {class: passed === false ? "trouble" : "soft"}, reason)),
      tables(asked, onScale),
      plots.estimators?.length > 0 && estimators(plots.estimators),
      plots.overlap && overlap(plots.overlap),
      told.length > 0 && h("details", {class: "told"}, h("summary", {}, "What else was measured"), tables(told, onScale))));
}

/** What both rankings are worth, estimated in several ways, on one scale. */
function estimators(found) {
  const rows = found.flatMap(({name, candidate, production}) => [["candidate", candidate, "good"], ["production", production, "soft"]].map(([whose, one, tone]) =>
    ({name: `${name}, ${whose}`, found: one.value, low: one.low, high: one.high, expected: null, passed: null, sense: "told", tone})));
  return [h("h4", {}, "What both are worth, by each estimator"), tables(rows, new Set())];
}

function overlap(bins) {
  const total = bins.reduce((sum, one) => sum + one, 0) || 1;
  return [h("h4", {}, "Of the first ten as they are live, how many stay, by share of searches"),
    columns({label: "Searches by how many of the first ten stay", values: bins.map((one) => one / total), names: bins.map((_, i) => String(i))})];
}

function hasInterval({low, high}) {
  return Number.isFinite(low) && Number.isFinite(high);
}

/** Checks with an interval, and those named in `onScale`, on one scale; below them numbers beside their bound. */
function tables(checks, onScale) {
  const placed = (one) => hasInterval(one) || (onScale.has(one.name) && Number.isFinite(one.found));
  const shared = checks.filter(placed);
  const alone = checks.filter((one) => !placed(one));
  return [shared.length > 0 && table("Intervals", shared, scaleOf(shared)), alone.length > 0 && table("Numbers", alone, null, shared.length > 0)];
}

function table(caption, checks, scale, below = false) {
  return h("table", {class: "grid-table forest"}, h("caption", {class: "visually-hidden"}, caption),
    h("thead", {class: below ? "flat" : null}, h("tr", {}, h("th", {scope: "col"}, "Check"), h("th", {scope: "col", class: "found"}, "Found"), h("th", {scope: "col", class: "wide"}, scale && ends(scale)), h("th", {scope: "col", class: "asked"}, "Needed"), h("th", {scope: "col", class: "verdict"}, h("span", {class: "visually-hidden"}, "Verdict")))),
    h("tbody", {}, checks.map((one) => row(one, scale))));
}

function row(check, scale) {
  const {name, found, expected: needed, passed, low, high, sense} = check;
  const tone = check.tone ?? (passed === false ? "bad" : passed === true ? "good" : "soft");
  const [, mark, said] = VERDICTS.find(([verdict]) => verdict === passed) ?? VERDICTS[2];
  const drawing = scale ? interval({low, high, found: found ?? (low + high) / 2, needed, tone}, scale)
    : Number.isFinite(found) && needed > 0 && found >= 0 && bullet({found, needed, tone});
  return h("tr", {class: tone}, h("th", {scope: "row"}, name),
    h("td", {class: "found"}, value(found), hasInterval(check) && h("small", {}, ` ${value(low)} to ${value(high)}`)),
    h("td", {class: "wide"}, drawing),
    h("td", {class: "asked"}, asked(sense, needed)), h("td", {class: "verdict", title: said}, sense !== "told" && icon(mark), h("span", {class: "visually-hidden"}, said)));
}

/** "at least 0.98" */
function asked(sense, expected) {
  return expected === null || sense === "told" ? "" : `at ${sense} ${value(expected)}`;
}

function scaleOf(checks) {
  const values = checks.flatMap(({found, low, high, expected}) => [found, low, high, expected]).concat(0).filter((one) => Number.isFinite(one));
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
