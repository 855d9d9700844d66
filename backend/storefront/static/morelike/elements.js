/* Elements built from data. Text only ever becomes text nodes, so a title cannot become markup. */

/** An element: `on…` properties are listeners, `false`, `null` and `undefined` leave an attribute out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  search: "M10.5 17a6.5 6.5 0 1 1 0-13 6.5 6.5 0 0 1 0 13Zm4.8-1.7L20 20",
  camera: "M4 8.5h3.2L9 6h6l1.8 2.5H20V19H4V8.5Zm8 8a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4Z",
  microphone: "M12 14.5a3 3 0 0 0 3-3V6.5a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3Zm-6-3.2a6 6 0 0 0 12 0M12 17.5V21M9 21h6",
  close: "M6 6l12 12M18 6L6 18",
  similar: "M4 10c2.5-3.2 5.5-3.2 8 0s5.5 3.2 8 0M4 16c2.5-3.2 5.5-3.2 8 0s5.5 3.2 8 0",
  filters: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  back: "M14.5 5.5L8 12l6.5 6.5",
  next: "M9.5 5.5L16 12l-6.5 6.5",
  out: "M9 6h9v9M18 6L7 17",
  cloud: "M7 18a4 4 0 0 1-.4-8A5.5 5.5 0 0 1 17 8.6 4.7 4.7 0 0 1 17 18H7Z",
  leaf: "M5 19c0-9 5-14 14-14 0 9-5 14-14 14Zm0 0c3-5 6-7.5 9-9",
};

/** A line icon; decoration only, so hidden from readers. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true"})) {
    svg.setAttribute(key, value);
  }
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows only an icon and says `label`. */
export function iconButton(name, label, onclick, properties = {}) {
  return h("button", {type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...properties},
    icon(name));
}

/** Whether a click should stay inside the page: plain, with the first button. */
export function isPlainClick(event) {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}
