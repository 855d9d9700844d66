/* The page: looks how far everything is, draws it, and lets nights be played. Nothing here is made up. */

import {looks, worth} from "./charts.js";
import {Dots} from "./dots.js";
import {call, h, number} from "./elements.js";
import {Grid, isMeant} from "./grid.js";
import {gates, outcome, steps} from "./steps.js";
import {You} from "./you.js";

const $ = (wanted) => document.querySelector(wanted);
const BUSY_MS = 400;
const IDLE_MS = 4000;

const left = new Grid($(".left .grid"));
const right = new Grid($(".right .grid"));
const dots = new Dots($("canvas"), left);
const you = new You($("dialog.product"), told);

let state = null;
let chosen = new URLSearchParams(location.search).get("scenario");
let text = null;  // what is searched for; null: what the play shows
let night = null;  // of the slider; null: the last one
let told_of = 0;
let context = null;
let drawn = {};  // what the grids show, by side
let timer = null;

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  const asked = chosen;
  const where = new URLSearchParams({since: told_of, ...(chosen && {scenario: chosen})});
  try {
    const found = await call("GET", `/demo/learn/state?${where}`);
    if (asked !== chosen) return;
    await take(found);
    trouble(found.error);
  } catch (error) {
    trouble(error.message);
  }
  $("main").removeAttribute("aria-busy");
  timer = setTimeout(look, state?.busy ? BUSY_MS : IDLE_MS);
}

async function take(found) {
  const before = state;
  state = found;
  chosen = found.scenario;
  if (found.lists.length) told_of = found.lists.at(-1).number;
  else if (found.stage === "shopping" && (found.shopping?.lists ?? 0) < told_of) told_of = 0;
  const played = found.play.generations.length - 1;
  const fresh = before && before.scenario === chosen && before.play.nights.filter((one) => one.outcome).length < found.play.nights.filter((one) => one.outcome).length;
  if (fresh) night = null;
  night = night === null ? null : Math.min(night, played);
  draw();
  await lists();
  dots.add(found.lists, BUSY_MS * 1.5);
}

const shown = () => night ?? ended();

/** Nights that have ended. */
const ended = () => state.play.nights.filter((one) => one.outcome).length;

function draw() {
  const one = state.scenarios.find(({name}) => name === chosen);
  fill($(".scenarios"), state.scenarios.map(({name, title}) => h("button", {type: "button", "aria-pressed": String(name === chosen), "data-scenario": name, onclick: () => choose(name)}, title)));
  say($(".caption"), one.caption);
  say($(".shows"), one.shows);
  if (document.activeElement !== $("#words")) $("#words").value = text ?? state.play.text;
  fill($("#wishes"), state.wishes.map((value) => h("option", {value})));
  counts();
  fill($(".steps"), steps(state));
  fill($(".gates"), gates(state.night?.verdict));
  runs(one);
  slider();
  charts();
}

function counts() {
  const crowd = state.shopping ?? state.play.nights.at(-1)?.crowd ?? null;
  if (!crowd?.shown) say($(".counts"), state.scenarios.find(({name}) => name === chosen).joins ? "Open what you like. Your clicks are recorded as any shopper's." : "Nobody has looked yet.");
  else fill($(".counts"), ["shown ", h("b", {}, number(crowd.shown)), ", seen ", h("b", {}, number(crowd.seen ?? crowd.viewed)), ", clicked ", h("b", {}, number(crowd.clicked)), " in ", h("b", {}, number(crowd.lists)), " lists"]);
  left.attention(...shares(crowd));
}

/** Share of what was shown at each place that was looked at, and clicked. */
function shares(crowd) {
  const at = crowd?.by_position;
  const share = (name) => at?.[name]?.map((value, place) => (at.shown[place] ? value / at.shown[place] : 0));
  return [share("examined"), share("clicked")];
}

function runs(one) {
  const run = $(".run");
  const next = (state.play.continues ? state.play.nights.length : 0) + 1;
  const busy = state.busy;
  run.disabled = busy && state.stage !== "shopping";
  run.classList.toggle("stops", state.stage === "shopping");
  say(run, state.stage === "shopping" ? "Send them home" : state.stage === "night" ? "The night is under way" : state.stage === "measuring" ? "Looking up the truth" : busy ? "Another night is under way" : state.play.nights.length && !state.play.continues ? "Begin again at night 0" : `Run night ${next} live`);
  run.onclick = () => (state.stage === "shopping" ? act("/demo/learn/stop", {}) : act("/demo/learn/nights", {scenario: one.name}));
  const last = state.play.nights.at(-1);
  const sentence = state.stage === "idle" && last?.outcome ? last.sentence || `Night ${last.number}: ${outcome(last.outcome)}.` : "";
  const [first, rest] = told_briefly(sentence);
  say($(".verdict"), first);
  $(".verdict").className = `verdict ${last?.outcome ?? ""}`;
  fill($(".rest"), rest ? [h("details", {}, h("summary", {}, "All that was found"), h("p", {}, rest))] : []);
  $(".afresh").hidden = busy || !state.play.nights.length || !state.play.continues;
  $(".afresh").onclick = () => act("/demo/learn/nights", {scenario: one.name, afresh: true});
}

/** The verdict's first sentence, and the rest of it. */
function told_briefly(sentence) {
  const [, first, rest] = /^(.{20,}?[.!])\s+(?=[A-Z])(.*)$/s.exec(sentence) ?? [null, sentence, ""];
  return [first, rest];
}

function slider() {
  const input = $("#night");
  const played = ended();
  input.max = state.nights;
  if (document.activeElement !== input || night === null) input.value = shown();
  input.disabled = played === 0;
  const tick = (at) => {
    const one = state.play.nights[at - 1];
    const how = at > played ? "ahead" : at === 0 ? "start" : one.outcome === "promoted" ? "promoted" : "kept";
    return h("li", {class: how, "data-shown": at === shown()}, h("b", {}, at), h("small", {}, at > played ? "" : `g${state.play.generations[at]}`));
  };
  fill($(".ticks"), Array.from({length: state.nights + 1}, (_, at) => tick(at)));
  const one = state.play.nights[shown() - 1];
  say($("#night-says"), played === 0 ? "After the first night, this slider serves each night's ranking again." : shown() === 0 ? `Night 0: g${state.play.generations[0]}, which has learned nothing. The slider asks for each night's generation, and it really answers.` : `Night ${shown()}: ${outcome(one.outcome)}. g${state.play.generations[shown()]} answers on the right.`);
}

function charts() {
  fill($(".worth .plot"), worth(state.play.truth, state.nights, shown()));
  const curves = [...state.play.nights].reverse().find((one) => one.curves.length && one.number <= Math.max(shown(), 1))?.curves ?? state.planted;
  const curve = curves.find((one) => one.name === context) ?? curves[0];
  fill($(".contexts"), curves.length > 1 ? curves.map(({name}) => h("button", {type: "button", "aria-pressed": String(name === curve.name), onclick: () => ((context = name), charts())}, name.replace(", text", ""))) : []);
  fill($(".looks .plot"), looks(curve));
}

/** Ask the generations of both sides, where they do not show what is wanted already. */
async function lists() {
  const words = text ?? state.play.text;
  const joins = state.scenarios.find(({name}) => name === chosen).joins;
  const [first, last] = [state.play.generations[0], state.play.generations[shown()]];
  if (!first) return;
  const a = await served("left", first, words, joins);
  const b = await served("right", last, words, false);
  if (a || b) arrange(a);
  titles(first, last);
}

/** Put what was served into the grids. */
function arrange(leftToo) {
  const followed = text === null ? state.play.product_id : null;
  const before = drawn.left.ranked.findIndex((hit) => hit.product_id === followed);
  if (leftToo) left.show(drawn.left.hits, followed);
  right.show(drawn.right.hits, followed, before < 0 ? null : before);
  left.attention(...shares(state.shopping ?? state.play.nights.at(-1)?.crowd));
}

async function served(side, generation, words, recorded) {
  const wanted = `${chosen} g${generation} ${words} ${recorded && state.play.generations.at(-1)}`;
  if (drawn[side]?.of === wanted) return false;
  const where = new URLSearchParams({scenario: chosen, generation, text: words});
  const {hits} = await call("GET", `/demo/learn/results?${where}`);
  // what can be opened is the list that is on record: the live generation's, with its coins
  drawn[side] = {of: wanted, hits: recorded ? await you.search(words, hits) : hits, ranked: hits};
  if (side === "left") left.open = recorded ? (hit) => you.open(hit) : null;
  return true;
}

function titles(first, last) {
  const name = (side, at, generation, note) => fill($(`#${side}-title`), [`Night ${at} `, h("small", {}, `g${generation}${note}`)]);
  if (state.scenarios.find((one) => one.name === chosen).joins) fill($("#left-title"), ["Your list ", h("small", {}, "as it is served now, on record")]);
  else name("left", 0, first, ": as the encoder ranks");
  name("right", shown(), last, shown() && last !== first ? ": what was learned" : shown() ? ": nothing changed" : "");
  const meant = (hits) => hits.filter(isMeant).length;
  const known = drawn.left.ranked.some((hit) => hit.grade !== null);
  fill($(".gain"), known ? ["what they mean: ", h("b", {}, meant(drawn.left.ranked)), " → ", h("b", {}, meant(drawn.right.hits)), ` of ${drawn.right.hits.length}`] : ["Nobody of the crowd asks for this; nothing is planted for it."]);
}

function choose(name) {
  if (name === chosen) return;
  chosen = name;
  text = night = context = null;
  told_of = 0;
  history.replaceState(null, "", `?scenario=${name}`);
  look();
}

async function act(path, body) {
  $(".run").disabled = true;
  try {
    if (path.endsWith("nights")) told_of = 0;
    await call("POST", path, body);
  } catch (error) {
    trouble(error.message);
    state.error = error.message;
  }
  look();
}

function told(done, error) {
  if (error) trouble(error.message);
  say($(".counts"), `You: ${number(done.clicks)} opened, ${number(done.carts)} in the cart. They are on record, and join the others tonight.`);
}

function trouble(said) {
  $(".trouble").hidden = !said;
  say($(".trouble"), said ?? "");
}

function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

/** Put `children` into `place` unless they are there already: what is focused or animated stays. */
const FILLED = new WeakMap();

function fill(place, children) {
  const fresh = h("div", {}, children);
  const said = [...fresh.children].map((one) => one.outerHTML).join("") + fresh.textContent + styles(fresh);
  if (FILLED.get(place) === said) return;
  FILLED.set(place, said);
  const held = place.contains(document.activeElement) ? [...place.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  const open = place.querySelector("details[open]") !== null;
  place.replaceChildren(...fresh.childNodes);
  if (held >= 0) place.querySelectorAll("button")[held]?.focus();
  if (open) place.querySelector("details")?.setAttribute("open", "");
}

function styles(place) {
  return [...place.querySelectorAll(".bar")].map((one) => one.style.getPropertyValue("--done")).join(" ");
}

$(".query").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = $("#words").value.trim();
  text = said && said !== state.play.text ? said : null;
  $("#words").blur();
  look();
});
$("#night").addEventListener("input", () => {
  night = Math.min(Number($("#night").value), ended());
  $("#night").value = night;
  draw();
  lists().catch((error) => trouble(error.message));
});
document.addEventListener("visibilitychange", look);
addEventListener("resize", () => dots.canvas.getContext("2d").clearRect(0, 0, dots.canvas.width, dots.canvas.height));
look();
