/* What was trained: each arm as it learned, what it gained on validation, and what it kept at each scale. */

import {fill, h, words} from "./elements.js";
import {value} from "./gates.js";
import {curves, short} from "./plots.js";

const TONES = {naive: "clay", ips: "accent", dr: "ink", challenger: "warn"};
const EPOCH = {label: "epoch", format: String};
const GAMMA = {label: "scale γ of what was learned", from: 0, to: 1};

/** `judged`: arms that were compared; `trained`: how each learned, with its report. */
export function showArms(place, judged, trained) {
  place.hidden = judged.length + trained.length === 0;
  if (place.hidden) return;
  const learned = trained.map((arm) => ({...arm, tone: TONES[arm.name] ?? "soft"}));
  fill(place, h("h2", {}, "What was trained"),
    judged.length > 0 && h("div", {class: "card scroll"}, table(judged)),
    h("div", {class: "drawings"}, [learning(learned), keeping(learned), losses(learned), gained(learned), kept(learned)].filter(Boolean)),
    learned.filter((arm) => arm.report.why).map((arm) => h("p", {class: "soft"}, `${arm.name}: ${arm.report.why}`)));
}

function table(arms) {
  const measured = [...new Set(arms.flatMap((arm) => Object.keys(arm.validation)))];
  return h("table", {class: "grid-table arms-table"}, h("caption", {class: "visually-hidden"}, "Arms, by queries that decide which is judged"),
    h("thead", {}, h("tr", {}, ["Arm", ...measured.map(words), "scale γ", "retention", ""].map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, arms.map((arm) => h("tr", {class: arm.chosen ? "chosen" : null}, h("th", {scope: "row"}, arm.name),
      measured.map((name) => h("td", {}, value(arm.validation[name]))), h("td", {}, value(arm.gamma)), h("td", {}, value(arm.retention)),
      h("td", {}, arm.chosen && h("span", {class: "tag good"}, "judged"))))));
}

function drawing(title, spec) {
  return spec.series.some((one) => one.points.length > 1) && h("div", {class: "card padded"}, h("h3", {}, title), curves({label: title, ...spec}));
}

/** What decides between epochs, by epoch; across it, what is live comes to. */
function learning(arms) {
  const live = arms.map((arm) => arm.report.live?.ndcg_at_10).find((one) => one !== undefined);
  return drawing("NDCG@10 on validation, as each learned", {x: EPOCH, y: {}, guides: live === undefined ? [] : [{at: live, name: "what is live"}],
    series: arms.map(({name, tone, history}) => ({name, tone, dots: true, points: history.map((epoch) => [epoch.number, epoch.merit])}))});
}

function keeping(arms) {
  return drawing("What captions still find, as each learned", {x: EPOCH, y: {}, guides: bound(arms),
    series: arms.map(({name, tone, history}) => ({name, tone, dots: true, points: history.map((epoch) => [epoch.number, epoch.retention])}))});
}

function losses(arms) {
  return drawing("Loss, as each learned", {x: EPOCH, y: {}, series: arms.map(({name, tone, history}) =>
    ({name, tone, points: history.filter((epoch) => epoch.loss !== null).map((epoch) => [epoch.number, epoch.loss])}))});
}

function kept(arms) {
  return drawing("What captions still find, at each scale", {x: GAMMA, y: {}, guides: bound(arms), series: scaled(arms, (one) => Math.min(one.retention.recall_at_10, one.retention.mrr))});
}

/** What must be kept, as a line across. */
function bound(arms) {
  const least = arms.map((arm) => arm.report.plan?.least_retention).find((one) => one !== undefined);
  return least === undefined ? [] : [{at: least, name: `least ${short(least)}`}];
}

function gained(arms) {
  return drawing("NDCG@10 on validation, at each scale", {x: GAMMA, y: {}, series: scaled(arms, (one) => one.validation.ndcg_at_10)});
}

function scaled(arms, measure) {
  return arms.map(({name, tone, report}) => ({name, tone, dots: true, points: (report.scales ?? []).map((one) => [one.gamma, measure(one)]).sort(([a], [b]) => a - b)}));
}
