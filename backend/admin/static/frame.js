/* What every page for administrators has: a key, one thing looked at closely, what is said in passing, looking again. */

import {adminKey, keepKey, Refusal} from "./api.js";
import {h, icon} from "./elements.js";

const $ = (selector) => document.querySelector(selector);
const door = $("#door");
const alertPlace = $("#alert");
const dialog = $(".sheet");

let again = () => null;  // looks again, once the page has said how

/* one thing looked at closely */

export const sheet = {
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

/** Say something in passing. */
export function say(text) {
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
      if (given) again();
    }, {once: true});
  });
}

/** Do what may need a key: ask for one where it does, and say what went wrong. Resolves to null where nothing was done. */
export async function guarded(what, does) {
  try {
    return await does();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.wantsKey && await askForKey(`To ${what}, this page needs an admin key.`)) return guarded(what, does);
    if (!error.wantsKey) say(error.message);
    return null;
  }
}

/* looking again */

/**
 * Run `look` now, and again while somebody sees the page, `pause()` milliseconds after it is done; what is wrong is said
 * above. `again` looks at once, `busy` says whether a look is under way.
 */
export function watch(look, pause) {
  let timer = 0;
  const watched = {busy: false, again: () => null};
  watched.again = async () => {
    clearTimeout(timer);
    if (watched.busy) return;
    watched.busy = true;
    try {
      await look();
      alertPlace.replaceChildren();
      document.body.classList.add("ready");
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      failed(error);
    } finally {
      watched.busy = false;
      if (!document.hidden) timer = setTimeout(watched.again, pause());  // the tab may have been hidden while it looked
    }
  };
  again = watched.again;
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : again()));
  addEventListener("hashchange", () => adminKey() && (showDoor(), again()));
  showDoor();
  again();
  return watched;
}

function failed(error) {
  $(".summary").textContent = error.wantsKey ? "This page is for administrators." : "";
  const retry = h("button", {type: "button", class: "button small", onclick: error.wantsKey ? () => askForKey("") : again}, error.wantsKey ? "Use an admin key" : "Try again");
  if (alertPlace.textContent.includes(error.message)) return;
  alertPlace.replaceChildren(h("div", {class: "card failure"}, h("p", {}, error.message), retry));
}
