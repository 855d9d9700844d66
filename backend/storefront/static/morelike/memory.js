/* What the browser keeps for the search: by name, as JSON; where it keeps nothing for a page, only as long as the page lives. */

const PREFIX = "morelike-";
const PAGE_MEMORY = new Map();

/** What was kept under `name` in `area`, a Storage; null where there is nothing, or nothing that can be read. */
export function recall(name, area = "localStorage") {
  if (PAGE_MEMORY.has(name)) return PAGE_MEMORY.get(name);
  try {
    return JSON.parse(window[area].getItem(PREFIX + name));
  } catch {
    return null;
  }
}

export function keep(name, value, area = "localStorage") {
  try {
    window[area].setItem(PREFIX + name, JSON.stringify(value));
    PAGE_MEMORY.delete(name);
  } catch {
    PAGE_MEMORY.set(name, value);  // a full storage still reads: what it has of this name is old
  }
}

export function forget(...names) {
  for (const name of names) {
    PAGE_MEMORY.delete(name);
    for (const area of ["localStorage", "sessionStorage"]) {
      try {
        window[area].removeItem(PREFIX + name);
      } catch {
        // a page that may keep nothing has nothing to forget
      }
    }
  }
}

/** A random name: 128 bits in hex. */
export function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
