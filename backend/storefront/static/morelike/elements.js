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
  like: "M7.5 20V10.5M4 10.5h3.5V20H4ZM7.5 10.5l3.7-6.6c1.6 0 2.6 1.1 2.3 2.7l-.6 3h4.6c1.5 0 2.5 1.3 2.2 2.7l-1.3 6c-.2 1-1.1 1.7-2.1 1.7H7.5",
  dislike: "M16.5 4v9.5M20 13.5h-3.5V4H20ZM16.5 13.5l-3.7 6.6c-1.6 0-2.6-1.1-2.3-2.7l.6-3H6.5c-1.5 0-2.5-1.3-2.2-2.7l1.3-6C5.8 4.7 6.7 4 7.7 4h8.8",
  up: "M12 19V5.5M6 11.5l6-6 6 6",
  down: "M12 5v13.5M6 12.5l6 6 6-6",
  spark: "M12 4l1.9 5.6L19.5 12l-5.6 2.4L12 20l-1.9-5.6L4.5 12l5.6-2.4Z",
  undo: "M9 6L4.5 10.5 9 15M5 10.5h9a5 5 0 0 1 0 10h-3",
  part: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M9 9h6v6H9Z",
  eye: "M2.5 12c2.6-4.6 5.8-6.9 9.5-6.9s6.9 2.3 9.5 6.9c-2.6 4.6-5.8 6.9-9.5 6.9S5.1 16.6 2.5 12Zm9.5 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v6M13.5 10.5v6",
  plus: "M12 5v14M5 12h14",
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
