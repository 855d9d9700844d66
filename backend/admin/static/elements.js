/* Elements built from data, and how times and numbers are written. Text only ever becomes text nodes. */

/** An element: `on…` properties are listeners; `false`, `null` and `undefined` leave an attribute out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  done: "M5.5 12.5l4.2 4.2L18.5 7.5",
  todo: "M12 6.8a5.2 5.2 0 1 1 0 10.4 5.2 5.2 0 0 1 0-10.4Z",
  problem: "M12 6.5v6.5M12 16.9v.1",
  optional: "M7.5 12h9",
  copy: "M9 9V5.5h9.5V15H15M5.5 9H15v9.5H5.5V9Z",
  close: "M6 6l12 12M18 6L6 18",
  picture: "M4 6h16v12H4V6Zm0 9.5l4.5-4.5 4 4 2.5-2.5 5 5M15.5 9.5v.1",
  key: "M14.5 9.5a3.7 3.7 0 1 1-2 3.3L6 19.3V21H3.5v-3l6.9-6.9a3.7 3.7 0 0 1 4.1-1.6Z",
};

/** A line icon; decoration only, so hidden from readers. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true"})) svg.setAttribute(key, value);
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A command to paste, with a button that copies it. */
export function command(text) {
  const said = h("span", {class: "copied", role: "status"});
  const copy = async () => {
    await navigator.clipboard?.writeText(text).catch(() => getSelection().selectAllChildren(code));
    said.textContent = "Copied";
    setTimeout(() => (said.textContent = ""), 1600);
  };
  const code = h("code", {}, text);
  return h("div", {class: "command"}, h("pre", {tabindex: "0", "aria-label": "Command"}, code), said,
    h("button", {type: "button", class: "icon-button", "aria-label": `Copy: ${text}`, title: "Copy", onclick: copy}, icon("copy")));
}

const AGO = new Intl.RelativeTimeFormat("en", {numeric: "auto"});
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/** A time as people say it, with the exact one behind it. */
export function when(text) {
  if (!text) return "never";
  return h("time", {datetime: text, title: new Date(text).toLocaleString()}, ago(text));
}

function ago(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return Math.abs(seconds) < 5 ? "just now" : AGO.format(Math.round(seconds / size), unit);
}

/** Let every time on the page say how long ago it is now. */
export function tick() {
  for (const time of document.querySelectorAll("time:not([data-exact])")) {
    const said = ago(time.dateTime);
    if (time.textContent !== said) time.textContent = said;
  }
}

export function number(value) {
  return new Intl.NumberFormat("en").format(value);
}

/** "1 product", "2,400 products" */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

export function percent(share, digits = 0) {
  return new Intl.NumberFormat("en", {style: "percent", maximumFractionDigits: digits}).format(share);
}

/** A name as the API writes it, as people do. */
export function words(name) {
  return (name ?? "").replaceAll("_", " ");
}

/** How long from one time to another, or to now. */
export function took(from, to) {
  const seconds = Math.max(0, (to ? new Date(to) : Date.now()) - new Date(from)) / 1000;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = seconds / 60;
  return minutes < 90 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** A list of facts; those without a value are left out. */
export function facts(rows) {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== false && value !== "");
  return h("dl", {class: "facts"}, known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {class: "breaks"}, value))));
}

const SHOWN = new WeakMap();

/** Put `children` into `place` unless they read the same already: what someone has selected or focused stays. */
export function fill(place, ...children) {
  const fresh = h("div", {}, ...children);
  const said = fresh.innerHTML.replace(/(<time[^>]*>)[^<]*/g, "$1");  // times move on by themselves
  if (SHOWN.get(place) === said) return false;
  SHOWN.set(place, said);
  place.replaceChildren(...fresh.childNodes);
  return true;
}
