/* The two charts, drawn as SVG in their own units; each has a table for those who read rather than look. */

import {h, s} from "./elements.js";

const WIDTH = 560;
const HEIGHT = 270;
const EDGE = {left: 40, right: 104, top: 14, bottom: 34};

const NAMES = {frozen: "the encoder alone", naive: "naive clicks", debiased: "debiased", live: "what was live"};
const DEBIASED = ["dr", "ips", "challenger"];

/** NDCG of the debiased arm of a night: the best one of those that were trained. */
export function debiased(truth) {
  const found = DEBIASED.filter((name) => truth?.[name]).map((name) => truth[name].all);
  return found.length ? Math.max(...found) : null;
}

/** True NDCG@10 per night; `shown` is the night of the slider. */
export function worth(truth, nights, shown) {
  const lines = {
    frozen: truth.map((one) => one.frozen?.all ?? null),
    naive: truth.map((one, night) => (night ? one.naive?.all ?? null : one.frozen?.all ?? null)),
    debiased: truth.map((one, night) => (night ? debiased(one) : one.frozen?.all ?? null)),
    live: truth.map((one) => one.live?.all ?? null),
  };
  const known = Object.values(lines).flat().filter((value) => value !== null);
  if (!known.length) return [empty("Night 0 is measured when the first night is played.")];
  const low = Math.max(0, Math.floor((Math.min(...known) - 0.03) * 20) / 20);
  const high = Math.min(1, Math.max(low + 0.2, Math.ceil((Math.max(...known) + 0.02) * 20) / 20));
  const [x, y] = scales([0, nights], [low, high]);
  const drawing = [
    ...grid(x, y, Array.from({length: nights + 1}, (_, night) => night), ticks(low, high), "night"),
    s("line", {class: "here", x1: x(shown), x2: x(shown), y1: EDGE.top, y2: HEIGHT - EDGE.bottom}),
  ];
  for (const name of ["frozen", "naive", "debiased"]) drawing.push(...line(name, points(lines[name], x, y), name === "frozen" ? x(nights) : null));
  for (const [night, value] of lines.live.entries()) if (value !== null) drawing.push(s("circle", {class: "live", cx: x(night), cy: y(value), r: night === shown ? 7 : 5}));
  const named = truth.length > 1 ? ["frozen", "naive", "debiased"] : ["frozen"];
  drawing.push(...labels(named.map((name) => [name, last(lines[name])]), y));
  const rows = lines.frozen.map((_, night) => [night, ...Object.values(lines).map((line) => line[night]?.toFixed(3) ?? "–")]);
  return [figure("True NDCG@10 by night", drawing), key(), table(["Night", ...Object.keys(lines).map((name) => NAMES[name])], rows)];
}

/** A planted curve of looks beside its estimate with the interval, and the click rate that a naive eye would take for it. */
export function looks(curve) {
  if (!curve) return [empty("The first night estimates it.")];
  const places = curve.planted.map((_, place) => place + 1);
  const tops = [...curve.planted, ...(curve.high ?? []), ...(curve.naive ?? [])].filter((value) => value !== null);
  const high = Math.min(1.6, Math.max(1, ...tops) * 1.04);
  const [x, y] = scales([1, places.length], [0, high]);
  const at = (values) => (values ?? []).map((value, place) => (value === null ? null : [x(place + 1), y(Math.min(value, high))]));
  const drawing = [
    ...grid(x, y, places, ticks(0, high), "place"),
    ...(curve.low && curve.high ? [band(at(curve.low), at(curve.high))] : []),
    ...line("naive", at(curve.naive)),
    ...line("planted", at(curve.planted)),
    ...line("estimate", at(curve.theta)),
    ...at(curve.theta).filter(Boolean).map(([cx, cy]) => s("circle", {class: "estimate", cx, cy, r: 3.5})),
    ...labels([["planted", last(curve.planted)], ["estimate", last(curve.theta ?? [])], ["naive", last(curve.naive ?? [])]], y),
  ];
  const cell = (values, place) => values?.[place]?.toFixed(2) ?? "–";
  const rows = places.map((place) => [place, cell(curve.planted, place - 1), cell(curve.theta, place - 1), `${cell(curve.low, place - 1)} to ${cell(curve.high, place - 1)}`, cell(curve.naive, place - 1)]);
  return [figure(`Looks by place, ${curve.name}`, drawing), table(["Place", "Planted", "Estimated", "95 % interval", "Click rate"], rows)];
}

function scales([x0, x1], [y0, y1]) {
  const across = WIDTH - EDGE.left - EDGE.right;
  const down = HEIGHT - EDGE.top - EDGE.bottom;
  return [(value) => EDGE.left + ((value - x0) / (x1 - x0)) * across, (value) => EDGE.top + down - ((value - y0) / (y1 - y0)) * down];
}

function ticks(low, high) {
  const step = high - low > 0.6 ? 0.2 : high - low > 0.25 ? 0.1 : 0.05;
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9; value += step) found.push(Number(value.toFixed(2)));
  return found;
}

function grid(x, y, across, up, unit) {
  return [
    ...up.map((value) => s("line", {class: "rule", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value)})),
    ...up.map((value) => s("text", {class: "tick", x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end"}, value.toFixed(value % 0.1 > 0.01 && value % 0.1 < 0.09 ? 2 : 1).replace(/^0\./, "."))),
    ...across.map((value) => s("text", {class: "tick", x: x(value), y: HEIGHT - EDGE.bottom + 18, "text-anchor": "middle"}, value)),
    s("text", {class: "tick", x: WIDTH - EDGE.right + 14, y: HEIGHT - EDGE.bottom + 18}, unit),
  ];
}

function points(values, x, y) {
  return values.map((value, place) => (value === null ? null : [x(place), y(value)]));
}

function line(name, found, until = null) {
  const known = found.filter(Boolean);
  if (!known.length) return [];
  const path = known.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  return [s("path", {class: `line ${name}`, d: until === null ? path : `${path}H${until}`})];
}

function band(low, high) {
  const known = low.map((one, place) => [one, high[place]]).filter(([a, b]) => a && b);
  const there = known.map(([, [x, y]]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
  const back = known.reverse().map(([[x, y]]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
  return s("path", {class: "band", d: `M${there}L${back}Z`});
}

/** Names at the ends of lines, moved apart where they would lie on each other. */
function labels(ends, y) {
  const placed = ends.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => ({name, at: y(value)})).sort((a, b) => a.at - b.at);
  for (let one = 1; one < placed.length; one += 1) placed[one].at = Math.max(placed[one].at, placed[one - 1].at + 16);
  const said = {...NAMES, planted: "planted", estimate: "estimated", naive: "naive"};
  return placed.map(({name, at}) => s("text", {class: `name ${name}`, x: WIDTH - EDGE.right + 14, y: at + 4}, name === "frozen" ? "encoder alone" : said[name]));
}

function last(values) {
  return values.filter((value) => value !== null && value !== undefined).at(-1) ?? null;
}

function figure(title, drawing) {
  return s("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title}, ...drawing);
}

function key() {
  return h("p", {class: "soft"}, h("span", {class: "key-live", "aria-hidden": "true"}), "what was live in the morning. Each night's arms learn from the same clicks.");
}

function table(heads, rows) {
  return h("details", {}, h("summary", {}, "As numbers"), h("div", {class: "scrolls", tabindex: "0"}, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", {scope: "col"}, head)))),
    h("tbody", {}, rows.map(([first, ...cells]) => h("tr", {}, h("th", {scope: "row"}, first), cells.map((cell) => h("td", {}, cell))))))));
}

function empty(text) {
  return h("p", {class: "empty"}, text);
}
