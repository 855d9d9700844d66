/* The setup page: shows what the API says of itself, again every few seconds, and does what an administrator may. */

import {call} from "./api.js";
import {showHistory, showSwitch, showUse} from "./builds.js";
import {showChecks, summary} from "./checks.js";
import {Deliveries} from "./deliveries.js";
import {tick} from "./elements.js";
import {Events, showCollected} from "./events.js";
import {guarded, say, sheet, watch} from "./frame.js";
import {showKeys} from "./keys.js";
import {Pictures} from "./pictures.js";
import {showLearning} from "./waits.js";

const LOOK_MS = 10000;
const GLANCE_MS = 2500;

const $ = (selector) => document.querySelector(selector);
const deliveries = new Deliveries($(".deliveries"), sheet, guarded);
const events = new Events($(".events"), sheet);
const pictures = new Pictures($(".parked"), say, guarded);
let switching = "";

/** Everything again. */
async function look() {
  const [setup, {builds}, {generations}] = await Promise.all([call("GET", "/v1/setup"), call("GET", "/v1/builds"), call("GET", "/v1/generations")]);
  showChecks($(".checks"), setup.checklist);
  $(".summary").textContent = summary(setup.counts);
  showUse($(".use"), setup);
  switching = showSwitch($(".switch"), builds, {drop});
  showHistory($(".history-body"), generations, builds, {back, promote});
  showKeys($(".keys"), setup.keys);
  showCollected($(".collected"), setup);
  showLearning($(".learning"), setup.learning);
  await Promise.all([events.show(), deliveries.show(setup.webhooks), pictures.show()]);
}

/** The last events and the switch alone, between two looks; when one begins, takes a step or ends, everything. */
async function glance() {
  if (!document.hidden && !looks.busy && document.body.classList.contains("ready")) {
    tick();
    await events.show().catch(() => null);  // what is wrong is said by the next look
    const found = await call("GET", "/v1/builds?limit=5").catch(() => null);
    if (found && showSwitch($(".switch"), found.builds, {drop}) !== switching) looks.again();
  }
  setTimeout(glance, GLANCE_MS);
}

async function drop(build) {
  if (await guarded("give the switch up", () => call("DELETE", `/v1/builds/${build.id}`))) say("The switch was given up; nothing has changed for shoppers.");
  looks.again();
}

async function back(generation) {
  const done = await guarded("go back", () => call("POST", `/v1/generations/${generation.id}/rollback`));
  if (done) say(`${done.live} is live.`);
  looks.again();
}

async function promote(id) {
  const done = await guarded(`make ${id} live`, () => call("POST", `/v1/generations/${id}/promote`, {guard: $("#guard").checked}));
  if (done) say(done.guard ? `${done.live} is live, and ${done.guard} guards it.` : `${done.live} is live.`);
  looks.again();
}

const looks = watch(look, () => LOOK_MS);
setTimeout(glance, GLANCE_MS);
