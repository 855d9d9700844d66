/* Experiments: who is in which arm, whether the arms may be compared, and what has come of it so far. */

import {call, Refusal} from "./api.js";
import {count, facts, fill, h, icon, number, percent, when, words} from "./elements.js";
import {value} from "./gates.js";
import {curves, interval, short} from "./plots.js";

const REST_MS = 60000;
const TONES = {running: "good", stopped: "warn"};
const ROLES = [["primary", "What decides"], ["secondary", "What else changed"], ["guardrail", "What must not get worse"]];
const STATES = {better: "good", worse: "bad", harm: "bad", blocked: "bad", undecided: "warn", no_difference: ""};
const ARM_TONES = ["accent", "clay", "ink", "soft"];

function tag(status) {
  return h("span", {class: `tag ${TONES[status] ?? ""}`}, status);
}

function method(one) {
  return one.method === "ab" ? "A/B" : "interleaved";
}

export async function showExperiments(view) {
  const {experiments} = await call("GET", "/v1/experiments?limit=200");
  fill(view, experiments.length ? h("table", {class: "table card"}, h("caption", {class: "visually-hidden"}, "Experiments, newest first"),
    h("thead", {}, h("tr", {}, ["Experiment", "Status", "Arms", "Shoppers", "Began"].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, experiments.map((one) => h("tr", {},
      h("td", {"data-label": "Experiment", class: "breaks"}, h("a", {class: "link", href: `/admin/experiments/${one.id}`}, one.name), h("div", {class: "soft"}, `${one.id} · ${method(one)}`)),
      h("td", {"data-label": "Status"}, tag(one.status)),
      h("td", {"data-label": "Arms"}, one.arms.map((arm) => arm.name).join(" against ")),
      h("td", {"data-label": "Shoppers"}, percent(one.traffic * one.coverage, 1)),
      h("td", {"data-label": "Began"}, one.started_at ? when(one.started_at) : "not yet")))))
    : h("p", {class: "card empty soft"}, "There is none. Everybody is served by the live generation."));
  const running = experiments.filter((one) => one.status === "running").length;
  return {title: "Experiments", summary: running ? `${number(running)} running.` : "None is running."};
}

export async function showExperiment(view, id) {
  const one = await call("GET", `/v1/experiments/${id}`);
  const found = one.started_at ? await call("GET", `/v1/experiments/${id}/results`).catch(unlessGone) : null;
  fill(view,
    h("section", {}, found && verdict(found.verdict), h("div", {class: "columns even"},
      h("div", {class: "card padded"}, facts([["Layer", one.layer], ["Compares by", words(one.metric)], ["Shoppers", percent(one.traffic * one.coverage, 1)],
        ["Began", one.started_at && when(one.started_at)], ["Ended", one.ended_at && when(one.ended_at)], ["Begun", {guard: "to guard what went live", screen: "by a night, because clicks could not say"}[found?.purpose] ?? (one.actor && `by ${one.actor}`)],
        ["Decided", one.decision && [one.decision.winner ?? "no winner", one.decision.note].filter(Boolean).join(": ")]])),
      h("div", {class: "card padded"}, arms(one, found)))),
    found?.interleaving && h("section", {}, h("h2", {}, "Which ranking shoppers take from"), preference(found.interleaving)),
    found && ROLES.map(([role, title]) => metrics(title, found.metrics.filter((metric) => metric.role === role))),
    found?.looks && looks(found.looks),
    found?.slices.length > 0 && slices(found.slices));
  return {title: one.name, pause: REST_MS, summary: h("span", {class: "with-tag"}, tag(one.status), `${method(one)}${found ? `, ${count(Math.floor(found.days), "day")}` : ""}`)};
}

/** An experiment whose lists were dropped has no results; everything else is for the page to say. */
function unlessGone(error) {
  if (error instanceof Refusal && error.status === 409) return null;
  throw error;
}

function verdict({state, sentence}) {
  return h("p", {class: "card padded verdict-line with-tag"}, h("span", {class: `tag ${STATES[state] ?? ""}`}, words(state)), h("span", {}, sentence));
}

function arms(one, found) {
  const generation = (name) => (name ? h("a", {href: `/admin/generations/${name}`}, name) : "what is live");
  if (!found) return facts(one.arms.map((arm) => [arm.name, generation(arm.generation)]));
  const left = Object.entries(found.left_out).filter(([, n]) => n > 0);
  return [h("div", {class: "scroll"}, h("table", {class: "grid-table flush"}, h("caption", {class: "visually-hidden"}, "Arms"),
    h("thead", {}, h("tr", {}, ["Arm", "Serves", "Shoppers", "Queries"].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, found.arms.map((arm) => h("tr", {}, h("th", {scope: "row"}, arm.name), h("td", {}, generation(arm.generation)), h("td", {}, number(arm.units)), h("td", {}, number(arm.queries))))))),
  found.sample_ratio && h("p", {class: found.sample_ratio.passed ? "soft" : "trouble"}, found.sample_ratio.passed ? `Divided as their weights say (p ${short(found.sample_ratio.p)}).`
    : `Not divided as their weights say (p ${short(found.sample_ratio.p)}): nothing here is to be believed until it is known why.`),
  left.length > 0 && h("p", {class: "soft"}, "Left out: ", left.map(([reason, n]) => `${number(n)} ${words(reason)}`).join(", "), ".")];
}

/** Intervals that share a scale around 0; a change for the better is green once its interval leaves out 0. */
function forest(caption, rows, head) {
  const ends = rows.flatMap((row) => [row.low, row.high, row.limit]).filter(Number.isFinite);
  const reach = Math.max(0.01, ...ends.map(Math.abs)) * 1.05;
  return h("div", {class: "card"}, h("table", {class: "grid-table forest"}, h("caption", {class: "visually-hidden"}, caption),
    h("thead", {}, h("tr", {}, h("th", {scope: "col"}, head), h("th", {scope: "col", class: "found"}, "Change"),
      h("th", {scope: "col", class: "wide"}, h("span", {class: "ends"}, h("span", {}, signed(-reach)), h("span", {}, signed(reach)))), h("th", {scope: "col", class: "asked"}, ""), h("th", {scope: "col", class: "verdict"}, h("span", {class: "visually-hidden"}, "Verdict")))),
    h("tbody", {}, rows.map((row) => h("tr", {class: row.tone}, h("th", {scope: "row"}, row.name, row.detail && h("div", {class: "soft"}, row.detail)),
      h("td", {class: "found"}, signed(row.found), Number.isFinite(row.low) && h("small", {}, ` ${signed(row.low)} to ${signed(row.high)}`)),
      h("td", {class: "wide"}, Number.isFinite(row.low) && interval({low: row.low, high: row.high, found: row.found, needed: row.limit, tone: row.tone}, [-reach, reach])),
      h("td", {class: "asked"}, row.said), h("td", {class: "verdict"}, row.mark && icon(row.mark), row.told && h("span", {class: "visually-hidden"}, row.told)))))));
}

function metrics(title, found) {
  const rows = found.flatMap((metric) => metric.changes.map((change) => {
    const before = metric.arms.find((arm) => arm.arm === change.against)?.value ?? null;
    const after = metric.arms.find((arm) => arm.arm === change.arm)?.value ?? null;
    const limit = change.harm ? (metric.better === "higher" ? -1 : 1) * change.harm.margin : undefined;
    return {name: metric.title, detail: `${change.arm}: ${amount(after, metric.unit)}, ${change.against}: ${amount(before, metric.unit)}`, found: change.relative, ...range(change), limit,
      ...(before === null || after === null ? UNMEASURED : judged(change, metric.better)), said: change.harm ? `${signed(limit)} is put up with` : change.p_adjusted === null ? "" : `p ${short(change.p_adjusted)}`};
  }));
  return rows.length > 0 && h("section", {}, h("h2", {}, title), forest(title, rows, "Metric"));
}

/** Of what must not get worse, the interval that holds however often one looks. */
function range({harm, low, high, any_time_low: anyLow, any_time_high: anyHigh}) {
  return harm ? {low: anyLow, high: anyHigh} : {low, high};
}

const UNMEASURED = {tone: "soft", mark: "optional", told: "not measured yet"};

function judged(change, better) {
  if (change.harm) return change.harm.breached ? {tone: "bad", mark: "problem", told: "breached"} : {tone: "soft", mark: "done", told: "held"};
  if (!Number.isFinite(change.low) || (change.low <= 0 && change.high >= 0)) return {tone: "soft", mark: "optional", told: "not decided"};
  return (change.low > 0) === (better === "higher") ? {tone: "good", mark: "done", told: "better"} : {tone: "bad", mark: "problem", told: "worse"};
}

function slices(found) {
  const rows = found.map((one) => ({name: `${words(one.dimension)} ${one.value}`, detail: `${one.arm}, ${number(one.units)} shoppers`, found: one.relative, low: one.low, high: one.high,
    tone: one.q !== null && one.q < 0.1 ? (one.relative > 0 ? "good" : "bad") : "soft", said: one.q === null ? "" : `q ${short(one.q)}`}));
  return h("section", {}, h("h2", {}, "In parts of the shoppers"), h("p", {class: "soft lead"}, "To look into, not to decide by: q is adjusted for how many parts there are."), forest("Slices", rows, "Part"));
}

/** z at each planned look beside what it must exceed. */
function looks({boundaries, every_days: every, z}) {
  const names = [...new Set(z.flatMap(Object.keys))];
  const by = (values) => values.map((one, i) => [i + 1, one]);
  const series = [{name: "better beyond this", tone: "soft", dashed: true, points: by(boundaries)}, {name: "worse beyond this", tone: "soft", dashed: true, points: by(boundaries.map((one) => -one))},
    ...names.map((name, i) => ({name, tone: ARM_TONES[i % ARM_TONES.length], dots: true, points: by(z.map((look) => look[name] ?? null))}))];
  return h("section", {}, h("h2", {}, "Planned looks"), h("div", {class: "card padded"}, h("p", {class: "soft"}, `${boundaries.length} looks, one every ${number(every)} days: an early one asks for more.`),
    curves({label: "z at each look", series, x: {label: "look", format: String}, y: {}})));
}

function preference({a, b, lists, units, decided, needed, wins_a: winsA, wins_b: winsB, ties, value: found, low, high, any_time_low: anyLow, any_time_high: anyHigh, level}) {
  const most = Math.max(1, winsA, winsB, ties);
  return h("div", {class: "columns even"}, h("div", {class: "card tally"}, h("h3", {}, `${number(units)} shoppers took something, from ${number(lists)} lists`),
    h("ul", {class: "bars"}, [[a, winsA], [b, winsB], ["both alike", ties]].map(([name, n]) => h("li", {}, h("span", {class: "breaks"}, name), h("progress", {max: String(most), value: String(n), "aria-hidden": "true"}), h("b", {}, number(n))))),
    h("div", {class: "meter-line"}, h("progress", {max: "1", value: Math.min(1, decided / needed).toFixed(3), "aria-label": "Shoppers with a preference"}), h("small", {}, `${number(decided)} of ${number(needed)} shoppers with a preference`))),
  h("div", {class: "card tally"}, h("h3", {}, `Preference, ${percent(level)} interval: all ${a} on the left, all ${b} on the right`), h("p", {class: "big"}, value(found)),
    Number.isFinite(low) && interval({low, high, found, tone: low > 0 ? "good" : high < 0 ? "bad" : "soft"}, [-0.5, 0.5]), Number.isFinite(low) && h("p", {class: "soft"}, `${short(low)} to ${short(high)}`, Number.isFinite(anyLow) && `; however often one looks ${short(anyLow)} to ${short(anyHigh)}`)));
}

function amount(one, unit) {
  if (one === null) return "–";
  return unit === "share" ? percent(one, 1) : `${short(one)}${unit === "ms" ? " ms" : ` ${unit}`}`;
}

function signed(share) {
  return Number.isFinite(share) ? new Intl.NumberFormat("en", {style: "percent", signDisplay: "exceptZero", maximumFractionDigits: 1}).format(share) : "–";
}
