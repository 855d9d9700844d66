/* The setup page: shows what the API says of itself, again every few seconds, and does what an administrator may. */

import {adminKey, call, keepKey, Refusal} from "./api.js";
import {showHistory, showSwitch, showUse} from "./builds.js";
import {showChecks, summary} from "./checks.js";
import {Deliveries} from "./deliveries.js";
import {h, icon, tick} from "./elements.js";
import {Events, showCollected} from "./events.js";
import {showKeys} from "./keys.js";
import {Pictures} from "./pictures.js";

const LOOK_MS = 10000;
const GLANCE_MS = 2500;

const $ = (selector) => document.querySelector(selector);
const door = $("#door");
const alertPlace = $("#alert");
const dialog = $(".sheet");

/* one thing looked at closely */

const sheet = {
  open(title, ...content) {
    const close = h("button", {type: "button", class: "icon-button", "aria-label": "Close", onclick: () => dialog.close()}, icon("close"));
    dialog.replaceChildren(h("div", {class: "sheet-head"}, h("h2", {id: "sheet-title"}, title), close), h("div", {class: "sheet-body"}, ...content));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  },
  close(said) {
    if (dialog.open) dialog.close();
    say(said);
  },
};
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

let toastTimer = 0;

function say(text) {
  const toast = $(".toast");
  toast.textContent = text ?? "";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.textContent = ""), 5000);
}

/* the key */

/** Show who looks: with a key, or on the demo's own machine without. */
function showDoor() {
  const key = adminKey();
  if (!key) {
    door.replaceChildren(h("button", {type: "button", class: "button small", onclick: () => askForKey("")}, icon("key"), "Use an admin key"));
    return;
  }
  const forget = () => {
    keepKey(null);
    location.reload();
  };
  door.replaceChildren(h("span", {class: "soft key-shown"}, `${key.slice(0, 10)}…`), h("button", {type: "button", class: "button small", onclick: forget}, "Forget the key"));
}

/** Ask for a key; resolves to whether one was given. */
function askForKey(why) {
  return new Promise((resolve) => {
    const field = h("input", {type: "password", name: "key", autocomplete: "off", required: true, placeholder: "mk_adm_…", "aria-label": "Admin key", spellcheck: "false"});
    const submit = (event) => {
      event.preventDefault();
      keepKey(field.value.trim());
      given = true;
      dialog.close();
    };
    let given = false;
    sheet.open("An admin key, please",
      h("p", {}, why || "With an admin key this page can also change things."),
      h("p", {class: "soft"}, h("code", {}, "morelike run"), " shows one when it has started; ", h("code", {}, "morelike key create --scope admin"), " makes another. It stays in this tab."),
      h("form", {class: "key-form", onsubmit: submit}, field, h("button", {type: "submit", class: "button primary"}, "Use this key")));
    field.focus();
    dialog.addEventListener("close", () => {
      showDoor();
      resolve(given);
      if (given) look();
    }, {once: true});
  });
}

/** Do what may need a key: ask for one where it does, and say what went wrong. Resolves to null where nothing was done. */
async function guarded(what, does) {
  try {
    return await does();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.wantsKey && await askForKey(`To ${what}, this page needs an admin key.`)) return guarded(what, does);
    if (!error.wantsKey) say(error.message);
    return null;
  }
}

/* what is shown */

const deliveries = new Deliveries($(".deliveries"), sheet, guarded);
const events = new Events($(".events"), sheet);
const pictures = new Pictures($(".parked"), say, guarded);
let timer = 0;
let looking = false;
let switching = "";

/** Everything again. */
async function look() {
  clearTimeout(timer);
  if (looking) return;
  looking = true;
  try {
    const [setup, {builds}, {generations}] = await Promise.all([call("GET", "/v1/setup"), call("GET", "/v1/builds"), call("GET", "/v1/generations")]);
    showChecks($(".checks"), setup.checklist);
    $(".summary").textContent = summary(setup.counts);
    showUse($(".use"), setup);
    switching = showSwitch($(".switch"), builds, {drop});
    showHistory($(".history-body"), generations, builds, {back, promote});
    showKeys($(".keys"), setup.keys);
    showCollected($(".collected"), setup);
    await Promise.all([events.show(), deliveries.show(setup.webhooks), pictures.show()]);
    alertPlace.replaceChildren();
    document.body.classList.add("ready");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    failed(error);
  } finally {
    looking = false;
    if (!document.hidden) timer = setTimeout(look, LOOK_MS);  // the tab may have been hidden while it looked
  }
}

/** The last events and the switch alone, between two looks; when one begins, takes a step or ends, everything. */
async function glance() {
  if (!document.hidden && !looking && document.body.classList.contains("ready")) {
    tick();
    await events.show().catch(() => null);  // what is wrong is said by the next look
    const found = await call("GET", "/v1/builds?limit=5").catch(() => null);
    if (found && showSwitch($(".switch"), found.builds, {drop}) !== switching) look();
  }
  setTimeout(glance, GLANCE_MS);
}

function failed(error) {
  $(".summary").textContent = error.wantsKey ? "This page is for administrators." : "";
  const again = h("button", {type: "button", class: "button small", onclick: error.wantsKey ? () => askForKey("") : look}, error.wantsKey ? "Use an admin key" : "Try again");
  if (alertPlace.textContent.includes(error.message)) return;
  alertPlace.replaceChildren(h("div", {class: "card failure"}, h("p", {}, error.message), again));
}

async function drop(build) {
  if (await guarded("give the switch up", () => call("DELETE", `/v1/builds/${build.id}`))) say("The switch was given up; nothing has changed for shoppers.");
  look();
}

async function back(generation) {
  const done = await guarded("go back", () => call("POST", `/v1/generations/${generation.id}/rollback`));
  if (done) say(`${done.live} is live.`);
  look();
}

async function promote(id) {
  const done = await guarded(`make ${id} live`, () => call("POST", `/v1/generations/${id}/promote`));
  if (done) say(`${done.live} is live.`);
  look();
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
addEventListener("hashchange", () => adminKey() && (showDoor(), look()));
showDoor();
look();
setTimeout(glance, GLANCE_MS);
