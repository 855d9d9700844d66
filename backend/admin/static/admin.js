/* The pages about learning: which one is wanted is in the address; each looks again while somebody sees it. */

import {tick} from "./elements.js";
import {showExperiment, showExperiments} from "./experiments.js";
import {watch} from "./frame.js";
import {showGeneration, showGenerations} from "./generations.js";
import {showNight} from "./night.js";
import {showNights} from "./nights.js";

const VIEWS = [
  [/^\/admin\/learning$/, showNights],
  [/^\/admin\/nights\/(n\d+)$/, showNight],
  [/^\/admin\/generations$/, showGenerations],
  [/^\/admin\/generations\/(g\d+)$/, showGeneration],
  [/^\/admin\/experiments$/, showExperiments],
  [/^\/admin\/experiments\/(e\d+)$/, showExperiment],
];
const TICK_MS = 5000;

const $ = (selector) => document.querySelector(selector);
const [show, id] = VIEWS.map(([path, view]) => [view, path.exec(location.pathname)?.[1], path.test(location.pathname)]).find(([, , fits]) => fits) ?? [showNothing];
let pause = 10000;

for (const link of document.querySelectorAll("nav a")) {
  const here = location.pathname === link.pathname || (link.pathname === "/admin/learning" ? location.pathname.startsWith("/admin/nights/") : location.pathname.startsWith(`${link.pathname}/`));
  if (here) link.setAttribute("aria-current", "page");
}

async function showNothing() {
  return {title: "There is no such page", summary: "The pages above are what there is."};
}

/** A view fills its place and says its title, its summary, and when to look again. */
const looks = watch(async () => {
  const said = await show($(".view"), id, () => looks.again());
  document.title = `${said.title} · Morelike`;
  $("h1").textContent = said.title;
  $(".summary").replaceChildren(said.summary ?? "");
  pause = said.pause ?? 10000;
}, () => pause);
setInterval(() => document.hidden || tick(), TICK_MS);
