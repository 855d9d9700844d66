/* What stands above the grid: the trail of turns, the field for what should be different, and the tray of what was judged. */

import {h, icon, iconButton} from "./elements.js";
import {judgements} from "./turns.js";

const SHOWN_ON_STEP = 3;

export class Trail {
  /** `on` has: go(at), say(text), judge(product, value), restart(), explain(), retry(), give_up(). */
  constructor(texts, {client, on}) {
    Object.assign(this, {texts, client, on});
    this.steps = h("ol", {class: "steps", role: "list"});
    this.undo = h("button", {type: "button", class: "text-button", onclick: () => on.go(this.at - 1)}, icon("undo"), texts.undo);
    this.restart = h("button", {type: "button", class: "text-button", onclick: on.restart}, texts.startOver);
    this.why = h("button", {type: "button", class: "text-button", onclick: on.explain}, icon("eye"), texts.whyThese);
    this.path = h("nav", {class: "trail", "aria-label": texts.trail, hidden: true}, this.steps,
      h("span", {class: "trail-tools"}, this.why, this.undo, this.restart));
    this.field = h("input", {
      type: "text", class: "but-input", name: "but", autocomplete: "off", enterkeyhint: "search", maxlength: "1000",
      placeholder: texts.likeTheseBut, "aria-label": texts.likeTheseBut,
    });
    this.form = h("form", {class: "but", onsubmit: (event) => this.#said(event)}, icon("similar"), this.field,
      h("button", {type: "submit", class: "button small", title: texts.refineHint}, texts.refine));
    this.tray = h("div", {class: "tray"});
    this.note = h("p", {class: "decision", role: "status"});
    this.trouble = h("div", {class: "trouble", role: "alert"});
    this.element = h("section", {class: "session", "aria-label": texts.refineLabel, hidden: true},
      this.path, h("div", {class: "say"}, this.form, this.tray), this.note, this.trouble);
  }

  /** Show where `state` stands; `beginning` is what its search was for, `decision` what came of the turn that led here. */
  show(state, beginning, decision) {
    this.element.hidden = false;
    this.at = state.at;
    this.path.hidden = state.turns.length === 0;
    this.undo.hidden = this.restart.hidden = this.why.hidden = state.at === 0;
    const steps = [this.#step(0, state, [beginning])];
    state.turns.forEach(({said}, index) => steps.push(this.#step(index + 1, state, this.#partsOf(said))));
    const focused = this.#holdsFocus(this.path);
    this.steps.replaceChildren(...steps);
    this.#reveal();
    if (focused) this.steps.querySelector("[aria-current]").focus({preventScroll: true});
    this.note.textContent = {blended: this.texts.blended, held: this.texts.held}[decision] ?? "";
    this.trouble.replaceChildren();
  }

  /** Show what was liked and disliked: those of `state`, with `pending` ones over them. */
  judged(state, pending) {
    const all = [...judgements(state, pending).values()];
    const group = (value, name, label) => {
      const products = all.filter((product) => Math.sign(product.value) === value);
      if (products.length === 0) return null;
      return h("div", {class: `tray-group ${name}`, role: "group", "aria-label": label}, icon(name),
        h("ul", {role: "list"}, products.map((product) => h("li", {}, this.#kept(product, pending.has(product.id))))));
    };
    const groups = [group(1, "like", this.texts.youLike), group(-1, "dislike", this.texts.youDislike)].filter(Boolean);
    const focused = this.#holdsFocus(this.tray);
    this.tray.replaceChildren(...(groups.length ? groups : [h("p", {class: "tray-hint"}, this.texts.trayHint)]));
    if (focused) (this.tray.querySelector("button") ?? this.field).focus({preventScroll: true});
  }

  /** A turn did not come through: what there was stays, and it can be tried again. `sentence` says what happened. */
  fail(sentence) {
    this.trouble.replaceChildren(h("p", {}, sentence), h("span", {class: "trouble-actions"},
      h("button", {type: "button", class: "button small", onclick: this.on.retry}, this.texts.retry),
      h("button", {type: "button", class: "text-button", onclick: this.on.give_up}, this.texts.leaveIt)));
  }

  say(text) {
    this.note.textContent = text;
  }

  hide() {
    this.element.hidden = true;
  }

  clearField() {
    this.field.value = "";
  }

  #said(event) {
    event.preventDefault();
    this.on.say(this.field.value);
  }

  #step(at, state, content) {
    const current = at === state.at;
    const button = h("button", {
      type: "button", class: "step", "aria-current": current ? "step" : null, onclick: () => at !== this.at && this.on.go(at),
      title: at > state.at ? this.texts.redo : current ? null : this.texts.goBack,
    }, content);
    return h("li", {class: at > state.at ? "undone" : null}, button);
  }

  /** Whether the focus is in `part`, which is about to be built anew: it goes on there, then. */
  #holdsFocus(part) {
    return part.contains(this.element.getRootNode().activeElement);
  }

  /** The newest step is in sight, where the trail is longer than its place. */
  #reveal() {
    const current = this.steps.querySelector("[aria-current]");
    if (current) this.steps.scrollLeft = current.offsetLeft - this.steps.clientWidth / 2;
  }

  #partsOf(said) {
    if (!said) return [this.texts.refined];
    const {products = [], parts = [], text = ""} = said;
    const shown = [];
    for (const [value, name, label] of [[1, "like", this.texts.youLike], [-1, "dislike", this.texts.youDislike]]) {
      const some = products.filter((one) => Math.sign(one.value) === value);
      if (some.length) shown.push(this.#marked(name, label, some));
    }
    const back = products.filter((one) => one.value === 0);
    if (back.length) shown.push(this.#marked("undo", this.texts.tookBack, back));
    if (parts.length) shown.push(this.#marked("part", this.texts.aPart, distinct(parts)));
    if (text) shown.push(h("span", {class: "step-words"}, `“${text}”`));
    return shown.length ? shown : [this.texts.byItself];
  }

  #marked(name, label, products) {
    const more = products.length - SHOWN_ON_STEP;
    return h("span", {class: `step-part ${name}`}, icon(name), h("span", {class: "visually-hidden"}, label),
      products.slice(0, SHOWN_ON_STEP).map((product) => this.#likeness(product)), more > 0 && `+${more}`);
  }

  /** As wide as in the grid, where it was loaded already. */
  #likeness({title, image}) {
    const source = this.client.imageUrl(image, 320);
    return source ? h("img", {src: source, alt: title, title, width: "26", height: "26"}) : h("span", {}, title);
  }

  #kept(product, pending) {
    const label = `${this.texts.takeBack}: ${product.title}`;
    return h("button", {
      type: "button", class: pending ? "tray-item pending" : "tray-item", "aria-label": label, title: label, onclick: () => this.on.judge(product, 0),
    }, this.#likeness(product), h("span", {class: "tray-cross"}, icon("close")));
  }
}

function distinct(products) {
  return [...new Map(products.map((product) => [product.id, product])).values()];
}
