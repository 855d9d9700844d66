/* Every night with its outcome, the one that is under way, and what each gate still waits for. */

import {call} from "./api.js";
import {fill, h, icon, took, when, words} from "./elements.js";
import {guarded, say} from "./frame.js";
import {showWaits} from "./waits.js";

const LIVE_MS = 1500;
const REST_MS = 15000;
const PLACES = ["live", "missing", "past"];

/** Outcome of a night as a tag: its colour says whether something went live. */
export function outcomeTag({state, outcome, dry_run: dry}) {
  const [name, tone, mark] = state === "running" ? ["running", "warn", "todo"]
    : state === "failed" ? ["failed", "bad", "problem"]
    : state === "cancelled" ? ["cancelled", "", "optional"]
    : {promoted: ["went live", "good", "done"], ready: ["ready", "good", "done"], screening: ["tried on a few", "warn", "todo"], rolled_back: ["rolled back", "bad", "problem"]}[outcome] ?? ["no update", "", "optional"];
  return h("span", {class: "with-tag"}, h("span", {class: `tag ${tone}`}, icon(mark), name), dry && h("span", {class: "tag"}, "rehearsal"));
}

/** "Night of 22 November", or of one that somebody asked for "Night 12". */
export function nameOf({id, night}) {
  return night ? `Night of ${new Date(`${night}T12:00:00Z`).toLocaleDateString("en", {day: "numeric", month: "long", timeZone: "UTC"})}` : `Night ${id}`;
}

/** What the night came to, in a sentence. */
export function sentenceOf({state, reason, error}) {
  if (state === "running") return "Under way.";
  if (state === "cancelled") return "Cancelled: nothing changed by it.";
  return (state === "failed" && error) || reason || "";
}

/** "Nov 1, 2026 to Nov 22, 2026" */
export function period(from, to) {
  return h("span", {}, day(from), " to ", day(to));
}

function day(text) {
  return h("time", {datetime: text, "data-exact": ""}, new Date(text).toLocaleDateString("en", {day: "numeric", month: "short", year: "numeric"}));
}

const judged = {id: null, waits: []};

/** What the gates of a night wait for; its report is long, so it is asked for once. */
async function waitsOf(night) {
  if (night && night.id !== judged.id) {
    const {report} = await call("GET", `/v1/nights/${night.id}`);
    Object.assign(judged, {id: night.id, waits: report.night?.waits ?? []});
  }
  return judged.waits;
}

export async function showNights(view, _id, again) {
  const {nights} = await call("GET", "/v1/nights?limit=60");
  if (!view.querySelector(".past")) view.replaceChildren(...PLACES.map((name) => h("section", {class: name, hidden: true})));
  const [live, missing, past] = PLACES.map((name) => view.querySelector(`.${name}`));
  const running = nights.find((one) => one.state === "running");
  const steps = running && await call("GET", `/v1/nights/${running.id}`);
  live.hidden = !running;
  if (running) fill(live, h("h2", {}, h("a", {href: `/admin/nights/${running.id}`}, `${nameOf(running)}: under way`)), stepList(steps.steps));
  showWaits(missing, await waitsOf(nights.find((one) => one.state === "done")));
  past.hidden = false;
  const begin = async () => {
    const begun = await guarded("start a night", () => call("POST", "/v1/nights", {}));
    if (begun) say("A night was started.");
    again();
  };
  if (fill(past, h("div", {class: "section-head"}, h("h2", {}, "Nights"), !running && h("button", {type: "button", class: "button small start"}, "Run one now")),
    nights.length ? table(nights) : h("p", {class: "card empty soft"}, "There was no night yet. The first runs by itself at the time that MORELIKE_NIGHTLY_AT names, or now."))) {
    past.querySelector(".start")?.addEventListener("click", begin);
  }
  const newest = nights[0];
  return {title: "Learning from clicks", pause: running ? LIVE_MS : REST_MS, summary: newest ? `${nameOf(newest)}: ${sentenceOf(newest)}` : "Nothing was learned yet."};
}

function table(nights) {
  return h("table", {class: "table card"}, h("caption", {class: "visually-hidden"}, "Nights, newest first"),
    h("thead", {}, h("tr", {}, ["Night", "Outcome", "Why", "Generation", "Took"].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, nights.map((one) => h("tr", {},
      h("td", {"data-label": "Night"}, h("a", {class: "link", href: `/admin/nights/${one.id}`}, nameOf(one)), h("div", {class: "soft"}, when(one.started_at))),
      h("td", {"data-label": "Outcome"}, outcomeTag(one)),
      h("td", {"data-label": "Why", class: "breaks"}, sentenceOf(one)),
      h("td", {"data-label": "Generation"}, one.generation ? h("a", {href: `/admin/generations/${one.generation}`}, one.generation) : "–"),
      h("td", {"data-label": "Took"}, one.ended_at ? took(one.started_at, one.ended_at) : "–")))));
}

const MARKS = {done: "done", running: "todo", failed: "problem", skipped: "optional", pending: "optional"};
const STATES = {done: "done", running: "under way", failed: "failed", skipped: "left out", pending: "not yet"};

/** The steps of a night in their order, each with how far it is. */
export function stepList(steps) {
  return h("ol", {class: "steps", role: "list"}, steps.map((step) => {
    const {what, done, total} = step.progress ?? {};
    return h("li", {class: `step ${step.state}`, "data-step": step.name},
      h("span", {class: "mark"}, icon(MARKS[step.state] ?? "optional")),
      h("div", {class: "step-text"}, h("span", {class: "step-name"}, words(step.name)), h("span", {class: "visually-hidden"}, STATES[step.state]),
        step.state === "running" && h("small", {class: "breaks"}, what ?? "…"),
        step.state === "running" && h("progress", {max: "1", ...(total > 0 && {value: (done / total).toFixed(3)}), "aria-label": `Progress of ${step.name}`}),
        step.ended_at && step.state !== "skipped" && h("small", {}, took(step.started_at, step.ended_at)),
        step.state === "skipped" && h("small", {}, "left out"),
        step.attempts > 1 && h("small", {}, ` tried ${step.attempts} times`)));
  }));
}
