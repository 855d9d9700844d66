/* Elements built from data. Text only ever becomes text nodes. */

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on…` properties are listeners; `false`, `null` and `undefined` leave an attribute out. */
export function h(tag, properties = {}, ...children) {
  return made(document.createElement(tag), properties, children);
}

/** The same for drawings. */
export function s(tag, properties = {}, ...children) {
  return made(document.createElementNS(SVG, tag), properties, children);
}

function made(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function number(value) {
  return new Intl.NumberFormat("en").format(value);
}

/** Whether whoever looks wants things to keep still. */
export const still = matchMedia("(prefers-reduced-motion: reduce)");

/** The body of an answer; an error with what the server said against it. */
export async function call(method, path, body) {
  const headers = {Accept: "application/json", ...(body && {"Content-Type": "application/json"})};
  const key = sessionStorage.getItem("morelike-admin-key");
  if (key) headers.Authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, {method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store"});
  } catch {
    throw new Error("The server does not answer.");
  }
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(said?.detail ?? `${answer.status} ${answer.statusText}`);
  return said;
}
