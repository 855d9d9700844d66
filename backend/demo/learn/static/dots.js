/* Shoppers as dots: each goes over the places of one real list, as they were looked at, and pops where it clicked. */

import {still} from "./elements.js";

const STEP_MS = 150;
const POP_MS = 620;
const MOST = 40;

export class Dots {
  constructor(canvas, grid) {
    this.canvas = canvas;
    this.grid = grid;
    this.walks = [];
    this.pops = [];
    this.waiting = [];
    this.frame = null;
  }

  /** Let lists be looked at; `lists` are real ones, spread over the time until the next come. */
  add(lists, within) {
    if (still.matches) return;
    for (const [at, list] of lists.entries()) {
      if (this.walks.length + this.waiting.length >= MOST) return;
      this.waiting.push({list, at: performance.now() + (at * within) / lists.length});
    }
    this.frame ??= requestAnimationFrame((now) => this.draw(now));
  }

  begin(list, now) {
    const places = list.looked.filter((place) => this.grid.centre(place));
    if (!places.length) return;
    this.walks.push({places, clicked: new Set(list.clicked), satisfied: new Set(list.satisfied), began: now, popped: 0, lean: Math.random() - 0.5});
  }

  draw(now) {
    this.waiting = this.waiting.filter(({list, at}) => at > now || this.begin(list, now));
    const context = this.fitted();
    this.walks = this.walks.filter((walk) => this.walk(context, walk, now));
    this.pops = this.pops.filter((pop) => this.pop(context, pop, now));
    const idle = !this.walks.length && !this.pops.length && !this.waiting.length;
    this.frame = idle ? null : requestAnimationFrame((then) => this.draw(then));
  }

  fitted() {
    const {clientWidth, clientHeight} = this.canvas;
    const ratio = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(clientWidth * ratio) || this.canvas.height !== Math.round(clientHeight * ratio)) {
      this.canvas.width = Math.round(clientWidth * ratio);
      this.canvas.height = Math.round(clientHeight * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    const style = getComputedStyle(this.canvas);
    [this.ink, this.clay, this.good] = [style.color, style.borderTopColor, style.borderBottomColor];
    return context;
  }

  walk(context, walk, now) {
    const at = (now - walk.began) / STEP_MS;
    const step = Math.min(Math.floor(at), walk.places.length - 1);
    if (at > walk.places.length + 2) return false;
    while (walk.popped <= step) {
      const place = walk.places[walk.popped++];
      if (walk.clicked.has(place)) this.pops.push({place, satisfied: walk.satisfied.has(place), began: now});
    }
    const here = this.grid.centre(walk.places[step]);
    const next = this.grid.centre(walk.places[Math.min(step + 1, walk.places.length - 1)]);
    if (!here || !next) return false;
    const part = Math.min(1, Math.max(0, at - step)) ** 2;
    const [x, y] = [here[0] + (next[0] - here[0]) * part, here[1] + (next[1] - here[1]) * part];
    const off = walk.lean * here[2] * 0.5;
    const leaving = Math.max(0, 1 - Math.max(0, at - walk.places.length) / 2);
    context.globalAlpha = leaving * Math.max(0.25, 1 - walk.places[step] * 0.05);  // fewer come so far
    context.fillStyle = this.ink;
    context.beginPath();
    context.arc(x + off, y + off / 2, 6, 0, 7);
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#fff";
    context.stroke();
    return true;
  }

  pop(context, {place, satisfied, began}, now) {
    const part = (now - began) / POP_MS;
    const here = this.grid.centre(place);
    if (part >= 1 || !here) return false;
    context.globalAlpha = 1 - part;
    context.strokeStyle = satisfied ? this.good : this.clay;
    context.lineWidth = 4 * (1 - part) + 1;
    context.beginPath();
    context.arc(here[0], here[1], 8 + part * here[2] * 0.42, 0, 7);
    context.stroke();
    return true;
  }
}
