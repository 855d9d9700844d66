/* The night as it passes: who shops, each step of the real job, its gates and what it decided. */

import {h, number} from "./elements.js";

const SAYS = {
  shoppers: "shoppers search, look, click",
  sessions: "lists and labels are read",
  propensities: "where did they look?",
  training: "heads learn, several ways",
  gates: "is it really better?",
  build: "a generation is kept",
  flip: "it goes live",
  report: "the night is written down",
};

/** What the list of steps is made of. */
export function steps({stage, shopping, night, steps: waiting}) {
  const crowd = shopping && shopping.expected
    ? {name: "shoppers", state: stage === "shopping" ? "running" : shopping.shoppers ? "done" : "pending", progress: {what: "", done: shopping.shoppers, total: shopping.expected}}
    : {name: "shoppers", state: stage === "shopping" ? "running" : night ? "done" : "pending"};
  return [crowd, ...(night?.steps ?? waiting)].map(step);
}

function step({name, state, progress, seconds}) {
  const running = state === "running";
  const done = running && progress?.total ? Math.min(1, progress.done / progress.total) : null;
  const took = seconds !== null && seconds !== undefined && state === "done" ? `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s` : "";
  const of = running && progress?.total > 1 ? `${number(progress.done)} / ${number(progress.total)}` : took;
  const bar = h("span", {class: "bar", "aria-hidden": "true"});
  bar.style.setProperty("--done", done ?? (running ? 0.04 : 0));
  return h("li", {class: `step ${state}`, "data-step": name, "aria-current": running && "step"},
    h("span", {class: "light", "aria-hidden": "true"}), h("span", {class: "name"}, name), h("span", {class: "of"}, of),
    h("span", {class: "says"}, running && progress?.what ? progress.what : SAYS[name] ?? ""), bar,
    h("span", {class: "visually-hidden"}, `, ${state}`));
}

/** The gates of a verdict as small marks; what failed says why. */
export function gates(verdict) {
  return (verdict?.gates ?? []).map(({id, title, passed, reasons}) => {
    const how = passed === true ? "passed" : passed === false ? "failed" : "untested";
    const why = reasons?.length ? `: ${reasons.join(" ")}` : "";
    return h("li", {class: how, title: `${title}: ${how}${why}`}, h("span", {"aria-hidden": "true"}, passed === true ? "✓" : passed === false ? "✕" : "–"), id, h("span", {class: "visually-hidden"}, ` ${title} ${how}${why}`));
  });
}

/** What a night came to, in a word. */
export function outcome(one) {
  return {promoted: "better, and live", ready: "kept, not live", screening: "on trial", rolled_back: "rolled back", unchanged: "no update"}[one] ?? one ?? "under way";
}
