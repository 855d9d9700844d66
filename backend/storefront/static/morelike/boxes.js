/* Boxes on a picture: drawn by mouse, finger or keys, moved, resized and taken away. Coordinates are 0 to 1 of the picture. */

import {h} from "./elements.js";

const LEAST_SIDE = 0.05;
const STEP = 0.02;
const MOST_BOXES = 8;

export class Boxes {
  /** Boxes lie over `frame`, which is exactly as large as the picture; `onchange()` is called when one changed or is chosen. */
  constructor(texts, frame, onchange) {
    Object.assign(this, {texts, frame, onchange});
    this.all = [];
    this.chosen = null;
    frame.addEventListener("pointerdown", (event) => this.#grab(event));
  }

  /** A box in the middle, for whoever does not draw. */
  add() {
    const shift = (this.all.length % 4) * 0.05;
    this.#put([0.3 + shift, 0.3 + shift, 0.7 + shift, 0.7 + shift]);
    this.chosen?.element.focus();
  }

  remove(box = this.chosen) {
    if (!box) return;
    box.element.remove();
    this.all = this.all.filter((one) => one !== box);
    this.choose(this.all.at(-1) ?? null);
  }

  /** Whether there is more (1) or less (-1) wanted of what is in the chosen box. */
  label(value) {
    if (!this.chosen) return;
    this.chosen.value = value;
    this.#draw(this.chosen);
    this.onchange();
  }

  choose(box) {
    this.chosen = box;
    for (const one of this.all) one.element.classList.toggle("chosen", one === box);
    this.onchange();
  }

  #put(corners) {
    if (this.all.length >= MOST_BOXES) return null;
    const box = {corners, value: 1};
    box.element = h("div", {
      class: "box-drawn", tabindex: "0", role: "group", "aria-roledescription": this.texts.boxRole,
      onkeydown: (event) => this.#pressed(event, box), onfocus: () => this.chosen !== box && this.choose(box),
    }, ["nw", "ne", "sw", "se"].map((corner) => h("span", {class: `handle ${corner}`, "data-corner": corner})));
    this.all.push(box);
    this.frame.append(box.element);
    this.#draw(box);
    this.choose(box);
    return box;
  }

  /** A pointer goes down: on a handle it resizes, on a box it moves, elsewhere it draws. */
  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const start = this.#pointOf(event);
    const element = event.target.closest(".box-drawn");
    const corner = event.target.dataset.corner;
    let box = this.all.find((one) => one.element === element) ?? null;
    const drawn = box === null;
    const from = box ? [...box.corners] : null;
    if (box) {
      this.choose(box);
      box.element.focus({preventScroll: true});
    }
    const move = (later) => {
      const [x, y] = this.#pointOf(later);
      if (!drawn) box.corners = corner ? resized(from, corner, x, y) : moved(from, x - start[0], y - start[1]);
      else if (box || Math.hypot(x - start[0], y - start[1]) > LEAST_SIDE / 2) {
        box ??= this.#put([...start, ...start]);
        if (box) box.corners = between(start, [x, y]);
      }
      if (box) this.#draw(box);
    };
    const end = () => {
      this.frame.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) this.frame.removeEventListener(name, end);
      if (!box) return;
      box.corners = grown(box.corners);
      this.#draw(box);
      box.element.focus({preventScroll: true});
      this.onchange();
    };
    this.frame.setPointerCapture(event.pointerId);
    this.frame.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.frame.addEventListener(name, end);
  }

  /** Arrows move, with Shift they resize; Delete takes the box away; L and D say what it is for. */
  #pressed(event, box) {
    const by = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]}[event.key];
    const key = event.key.toLowerCase();
    if (by && event.shiftKey) box.corners = grown(resized(box.corners, "se", box.corners[2] + by[0], box.corners[3] + by[1]));
    else if (by) box.corners = moved(box.corners, ...by);
    else if (key === "delete" || key === "backspace") this.remove(box);
    else if (key === "l" || key === "d") this.label(key === "l" ? 1 : -1);
    else return;
    event.preventDefault();
    if (this.all.includes(box)) this.#draw(box);
    else (this.chosen?.element ?? this.frame).focus();
    this.onchange();
  }

  #pointOf(event) {
    const frame = this.frame.getBoundingClientRect();
    return [within((event.clientX - frame.left) / frame.width), within((event.clientY - frame.top) / frame.height)];
  }

  #draw({element, corners: [x1, y1, x2, y2], value}) {
    Object.assign(element.style, {left: `${x1 * 100}%`, top: `${y1 * 100}%`, width: `${(x2 - x1) * 100}%`, height: `${(y2 - y1) * 100}%`});
    element.classList.toggle("less", value < 0);
    const percents = [x1, y1, x2, y2].map((one) => `${Math.round(one * 100)} %`).join(", ");
    element.setAttribute("aria-label", `${value < 0 ? this.texts.lessOfThis : this.texts.moreOfThis}: ${percents}`);
  }
}

const within = (value) => Math.min(1, Math.max(0, value));

function between([x1, y1], [x2, y2]) {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

function moved([x1, y1, x2, y2], dx, dy) {
  const x = Math.min(1 - x2, Math.max(-x1, dx));
  const y = Math.min(1 - y2, Math.max(-y1, dy));
  return [x1 + x, y1 + y, x2 + x, y2 + y];
}

/** The box with `corner` at x, y; a corner does not pass the one that lies across. */
function resized([x1, y1, x2, y2], corner, x, y) {
  const left = corner.endsWith("w") ? Math.min(within(x), x2 - LEAST_SIDE) : x1;
  const right = corner.endsWith("e") ? Math.max(within(x), x1 + LEAST_SIDE) : x2;
  const top = corner.startsWith("n") ? Math.min(within(y), y2 - LEAST_SIDE) : y1;
  const bottom = corner.startsWith("s") ? Math.max(within(y), y1 + LEAST_SIDE) : y2;
  return [left, top, right, bottom].map(within);
}

/** At least so large that a finger finds it again, and inside the picture. */
function grown([x1, y1, x2, y2]) {
  const left = Math.min(x1, 1 - LEAST_SIDE);
  const top = Math.min(y1, 1 - LEAST_SIDE);
  return [left, top, Math.max(x2, left + LEAST_SIDE), Math.max(y2, top + LEAST_SIDE)];
}
