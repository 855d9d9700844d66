/* Drawings of numbers as SVG: curves with bands, intervals beside a threshold, and which ranks were compared. */

import {h, number} from "./elements.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = {top: 12, right: 14, bottom: 40, left: 50};
const HEIGHT = 260;
const FIRST_WIDTH = 560;

/** An SVG element; what is false, null or undefined is left out. */
function s(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Some five round numbers from `low` to `high`. */
function ticks(low, high, most = 5) {
  const rough = (high - low) / most || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

/** How a number on an axis is written. */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1000 ? number(Math.round(value)) : String(Number(value.toPrecision(size < 0.01 ? 2 : 3)));
}

/** Draws itself as wide as there is room, again when that changes. */
function drawn(label, draw) {
  const box = h("div", {class: "plot"});
  const show = (width) => {
    const svg = s("svg", {width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label});
    draw(svg, width);
    box.replaceChildren(svg);
  };
  show(FIRST_WIDTH);
  let shown = FIRST_WIDTH;
  new ResizeObserver(([{contentRect}]) => {
    const width = Math.round(contentRect.width);
    if (width > 0 && width !== shown) show((shown = width));
  }).observe(box);
  return box;
}

/**
 * Curves over one axis.
 *
 * `series`: {name, tone, points: [[x, y]], band: [[x, low, high]], dashed, dots}; a y that is null leaves a gap. `x` and
 * `y`: {label, from, to, format}; `guides`: {at, name} across. What stands under the pointer is told in the legend.
 */
export function curves({label, series, x, y, guides = []}) {
  const known = series.filter((one) => one.points.some(([, value]) => value !== null));
  const xs = [...new Set(known.flatMap((one) => one.points.map(([at]) => at)))].sort((a, b) => a - b);
  const values = known.flatMap((one) => [...one.points.map(([, value]) => value), ...(one.band ?? []).flatMap(([, low, high]) => [low, high])])
    .concat(guides.map((guide) => guide.at)).filter((value) => value !== null);
  const span = extent(values, y);
  const legend = h("ul", {class: "legend"}, known.map((one) => h("li", {}, key(one), one.name, h("b", {}))));
  const where = h("span", {class: "where"});
  const format = y.format ?? short;
  const plot = drawn(label, (svg, width) => {
    const [atX, atY] = scales([x.from ?? xs[0], x.to ?? xs.at(-1)], span, width);
    svg.append(axes(atX, atY, x, {...y, format}, xs, span, width), ...guides.map((guide) => across(guide, atY, width)));
    for (const one of known) svg.append(...curve(one, atX, atY));
    const line = s("line", {class: "pointer", y1: EDGE.top, y2: HEIGHT - EDGE.bottom, visibility: "hidden"});
    svg.append(line);
    const tell = (at) => {
      line.setAttribute("visibility", at === null ? "hidden" : "visible");
      if (at !== null) for (const end of ["x1", "x2"]) line.setAttribute(end, atX(at));
      where.textContent = at === null ? "" : `${x.label} ${(x.format ?? short)(at)}`;
      known.forEach((one, i) => {
        const value = at === null ? null : one.points.find(([place]) => place === at)?.[1] ?? null;
        legend.children[i].querySelector("b").textContent = value === null ? "" : format(value);
      });
    };
    svg.addEventListener("pointermove", (event) => tell(nearest(xs, event.offsetX, atX)));
    svg.addEventListener("pointerleave", () => tell(null));
  });
  return h("figure", {class: "figure"}, h("figcaption", {}, legend, where), plot, numbers(label, known, xs, x, format));
}

function extent(values, {from, to}) {
  const low = from ?? Math.min(...values);
  const high = to ?? Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [from ?? low - room, to ?? high + room];
}

function scales([x0, x1], [y0, y1], width) {
  const across_ = width - EDGE.left - EDGE.right;
  const down = HEIGHT - EDGE.top - EDGE.bottom;
  return [(at) => EDGE.left + (x1 === x0 ? across_ / 2 : ((at - x0) / (x1 - x0)) * across_), (at) => EDGE.top + (1 - (at - y0) / (y1 - y0)) * down];
}

function axes(atX, atY, x, y, xs, [low, high], width) {
  const bottom = HEIGHT - EDGE.bottom;
  const few = xs.length <= width / 34 ? xs : ticks(xs[0], xs.at(-1), Math.floor(width / 90));
  return s("g", {class: "axes"},
    ticks(low, high, 4).map((at) => [s("line", {class: "rule", x1: EDGE.left, x2: width - EDGE.right, y1: atY(at), y2: atY(at)}),
      s("text", {x: EDGE.left - 8, y: atY(at), "text-anchor": "end", "dominant-baseline": "middle"}, y.format(at))]),
    few.map((at) => s("text", {x: atX(at), y: bottom + 18, "text-anchor": "middle"}, (x.format ?? short)(at))),
    s("text", {class: "axis-name", x: width - EDGE.right, y: HEIGHT - 4, "text-anchor": "end"}, x.label));
}

function across({at, name}, atY, width) {
  return s("g", {class: "guide"}, s("line", {x1: EDGE.left, x2: width - EDGE.right, y1: atY(at), y2: atY(at)}),
    s("text", {x: width - EDGE.right, y: atY(at) - 5, "text-anchor": "end"}, name));
}

function curve({tone, points, band, dashed, dots}, atX, atY) {
  const known = points.filter(([, value]) => value !== null);
  const path = points.map(([at, value], i) => (value === null ? "" : `${i === 0 || points[i - 1][1] === null ? "M" : "L"}${atX(at).toFixed(1)} ${atY(value).toFixed(1)}`)).join("");
  const sure = (band ?? []).filter(([, low, high]) => low !== null && high !== null);
  const area = sure.length > 1 && `M${[...sure.map(([at, , high]) => [at, high]), ...sure.toReversed().map(([at, low]) => [at, low])].map(([at, value]) => `${atX(at).toFixed(1)} ${atY(value).toFixed(1)}`).join("L")}Z`;
  return [area && s("path", {class: `band ${tone}`, d: area}), s("path", {class: `curve ${tone}${dashed ? " dashed" : ""}`, d: path}),
    ...(dots || known.length === 1 ? known.map(([at, value]) => s("circle", {class: `dot ${tone}`, cx: atX(at), cy: atY(value), r: 3.2})) : [])].filter(Boolean);
}

function key({tone, dashed, band}) {
  return s("svg", {class: "key", width: 22, height: 12, "aria-hidden": "true"}, band && s("rect", {class: `band ${tone}`, width: 22, height: 12, rx: 3}),
    s("line", {class: `curve ${tone}${dashed ? " dashed" : ""}`, x1: 1, x2: 21, y1: 6, y2: 6}));
}

function nearest(xs, offset, atX) {
  return xs.reduce((best, at) => (best === null || Math.abs(atX(at) - offset) < Math.abs(atX(best) - offset) ? at : best), null);
}

/** The same as a table, for who reads rather than looks. */
function numbers(label, series, xs, x, format) {
  return h("details", {class: "figures"}, h("summary", {}, "The numbers"),
    h("div", {class: "scroll"}, h("table", {class: "grid-table"}, h("caption", {class: "visually-hidden"}, label),
      h("thead", {}, h("tr", {}, h("th", {scope: "col"}, x.label), series.map((one) => h("th", {scope: "col"}, one.name)))),
      h("tbody", {}, xs.map((at) => h("tr", {}, h("th", {scope: "row"}, (x.format ?? short)(at)), series.map((one) => {
        const value = one.points.find(([place]) => place === at)?.[1] ?? null;
        const band = one.band?.find(([place, low]) => place === at && low !== null);
        return h("td", {}, value === null ? "–" : format(value), band && h("small", {}, ` ${format(band[1])} to ${format(band[2])}`));
      })))))));
}

/** A number without an interval beside what is needed, on a scale of its own that begins at 0. */
export function bullet({found, needed, tone}) {
  const at = (value) => `${((Math.max(0, value) / (Math.max(found, needed, 0) * 1.1 || 1)) * 96 + 2).toFixed(2)}%`;
  return s("svg", {class: "interval", height: 26, "aria-hidden": "true"}, s("line", {class: `bullet ${tone}`, x1: at(0), x2: at(found), y1: 13, y2: 13}),
    s("line", {class: "needed", x1: at(needed), x2: at(needed), y1: 5, y2: 21}));
}

/** Columns, one for each of `values`, with its name below. */
export function columns({label, values, names}) {
  const most = Math.max(...values, 1e-9);
  return h("div", {class: "histogram", role: "img", "aria-label": `${label}: ${values.map((value, i) => `${names[i]} ${short(value)}`).join(", ")}`},
    values.map((value, i) => h("div", {class: "bin"}, s("svg", {height: 72, "aria-hidden": "true"}, s("title", {}, `${names[i]}: ${short(value)}`),
      s("rect", {x: "10%", width: "80%", y: 72 - (value / most) * 70, height: (value / most) * 70, rx: 3})), h("small", {}, names[i]))));
}

/** An interval, or a number alone, on the scale `[from, to]` that its table shares, with what is needed. */
export function interval({low, high, found, needed, tone}, [from, to]) {
  const at = (value) => `${(Math.min(1, Math.max(0, (value - from) / (to - from))) * 96 + 2).toFixed(2)}%`;
  const within = (value) => typeof value === "number" && value >= from && value <= to;
  const known = Number.isFinite(low) && Number.isFinite(high);
  return s("svg", {class: "interval", height: 26, role: "img", "aria-label": known ? `from ${short(low)} to ${short(high)}` : short(found)},
    within(0) && s("line", {class: "zero", x1: at(0), x2: at(0), y1: 0, y2: 26}),
    within(needed) && needed !== 0 && s("line", {class: "needed", x1: at(needed), x2: at(needed), y1: 2, y2: 24}),
    known && s("line", {class: `whisker ${tone}`, x1: at(low), x2: at(high), y1: 13, y2: 13}),
    s("rect", {class: `point ${tone}`, x: at(found), y: 9, width: 8, height: 8, transform: "translate(-4 0)"}));
}

/**
 * Which ranks were compared: an arc for each pair that some query and product stood at both, as wide as it has clicks.
 *
 * `pairs`: [[rank, rank, clicks]]; `connected`: of each rank, whether it hangs together with the first; `weakest`: the two
 * ranks of the weakest link on the way, or null.
 */
export function linked({label, ranks, pairs, connected, weakest}) {
  const top = Math.max(...pairs.map(([, , clicks]) => clicks));
  const farthest = Math.max(...pairs.map(([a, b]) => b - a));
  const isWeakest = ([a, b]) => weakest !== null && Math.min(a, b) === Math.min(...weakest) && Math.max(a, b) === Math.max(...weakest);
  return drawn(label, (svg, width) => {
    const base = HEIGHT - 56;
    const at = (rank) => 24 + ((rank - 1) / Math.max(1, ranks - 1)) * (width - 48);
    const order = [...pairs].sort((one, other) => Number(isWeakest(one)) - Number(isWeakest(other)));
    svg.append(...order.map((pair) => {
      const [a, b, clicks] = pair;
      const rise = 14 + ((b - a) / farthest) * (base - 30);
      const strength = Math.log1p(clicks) / Math.log1p(top);
      const state = isWeakest(pair) ? "weakest" : connected[a - 1] && connected[b - 1] ? "strong" : "thin";
      return s("path", {class: `arc ${state}`, d: `M${at(a)} ${base}C${at(a)} ${base - rise * 1.3} ${at(b)} ${base - rise * 1.3} ${at(b)} ${base}`, "stroke-width": (0.6 + 3.4 * strength).toFixed(2)},
        s("title", {}, `Ranks ${a} and ${b}: ${number(Math.round(clicks))} clicks`));
    }));
    const every = Math.ceil(ranks / Math.max(4, Math.floor((width - 48) / 30)));
    for (let rank = 1; rank <= ranks; rank += 1) {
      svg.append(s("circle", {class: connected[rank - 1] ? "node" : "node alone", cx: at(rank), cy: base, r: 5}));
      if ((rank - 1) % every === 0) svg.append(s("text", {x: at(rank), y: base + 22, "text-anchor": "middle"}, String(rank)));
    }
    svg.append(s("text", {class: "axis-name", x: width - 10, y: HEIGHT - 6, "text-anchor": "end"}, "rank"));
  });
}
