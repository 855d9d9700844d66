/* The filter panel with its counts, and the chips of what is filtered. */

import {h, icon} from "./elements.js";
import {amount, toggled, toggledPath, withFilter} from "./state.js";
import {facetName, money} from "./texts.js";

const SHOWN_AT_FIRST = 7;
const PATH = " > ";
const COLOUR_FACETS = new Set(["attributes.colour", "attributes.color"]);

export class Filters {
  /** `onchange(filters)` is called with the filters that are wanted next. */
  constructor(texts, {onchange, locale}) {
    this.texts = texts;
    this.onchange = onchange;
    this.locale = locale;
    this.opened = new Set();
    this.seen = {};
    this.groups = h("div", {class: "filter-groups"});
    this.clear = h("button", {type: "button", class: "text-button", onclick: () => this.onchange({})}, texts.clearFilters);
    this.element = h("aside", {class: "filters", id: "filters", "aria-label": texts.filters},
      h("div", {class: "filters-head"}, h("h2", {}, texts.filters), this.clear), this.groups);
    this.chips = h("ul", {class: "chips", role: "list"});
  }

  /** Show the values of `facets` with what `filters` has switched on, in the order of `names`; `query` tells searches apart. */
  show(filters, facets, names, currency, query) {
    this.last = [filters, facets, names, currency, query];
    this.filters = filters;
    this.#remember(facets, query);
    const focused = this.groups.getRootNode().activeElement?.dataset?.key;
    const groups = [];
    for (const name of names) {
      if (name === "price") groups.push(this.#priceGroup(facets.price, currency));
      else groups.push(this.#valueGroup(name, facets[name] || {}));
    }
    groups.push(this.#stockGroup());
    this.groups.replaceChildren(...groups.filter(Boolean));
    // the panel is built anew: whoever went through it by keyboard goes on where they were
    if (focused) [...this.groups.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused)?.focus();
    this.clear.hidden = Object.keys(filters).length === 0;
    this.#showChips(currency);
  }

  /** How many values are switched on. */
  get count() {
    return chipsOf(this.filters || {}, this.texts, (value) => value).length;
  }

  /** Values vanish from an answer once one of them is chosen; those seen before stay, so that a second can be chosen too. */
  #remember(facets, query) {
    if (query !== this.query) this.seen = {};
    this.query = query;
    for (const [name, counts] of Object.entries(facets)) if (!this.filters[name]) this.seen[name] = counts;
  }

  #valueGroup(name, counts) {
    const chosen = this.filters[name] || [];
    const known = [...new Set([...Object.keys(counts), ...Object.keys(this.seen[name] || {}), ...chosen])];
    const values = name === "category" ? branches(known, chosen) : known;
    if (values.length === 0) return null;
    const open = this.opened.has(name);
    const shown = values.filter((value, index) => open || index < SHOWN_AT_FIRST || chosen.includes(value));
    const group = h("fieldset", {class: "group"}, h("legend", {}, facetName(name, this.texts)),
      h("ul", {role: "list"}, shown.map((value) => h("li", {}, this.#option(name, value, counts[value], chosen.includes(value))))));
    if (values.length > SHOWN_AT_FIRST) group.append(this.#expander(name, open, values.length));
    return group;
  }

  #option(name, value, count, checked) {
    const input = h("input", {
      type: "checkbox", checked, "data-key": `${name}=${value}`,
      onchange: () => this.onchange(name === "category" ? toggledPath(this.filters, value) : toggled(this.filters, name, value)),
    });
    const depth = name === "category" ? value.split(PATH).length - 1 : 0;
    return h("label", {class: depth ? "option inner" : "option"}, input, COLOUR_FACETS.has(name) && swatch(value),
      h("span", {class: "option-name"}, name === "category" ? value.split(PATH).at(-1) : value),
      h("span", {class: "option-count"}, count === undefined ? "" : new Intl.NumberFormat(this.locale).format(count)));
  }

  #expander(name, open, count) {
    const label = open ? this.texts.showFewer : `${this.texts.showAll} ${count}`;
    const flip = () => {
      if (open) this.opened.delete(name);
      else this.opened.add(name);
      this.show(...this.last);
    };
    return h("button", {type: "button", class: "text-button", "data-key": `more ${name}`, "aria-expanded": String(open), onclick: flip}, label);
  }

  #priceGroup(facet, currency) {
    const {gte = null, lte = null} = this.filters.price || {};
    const field = (label, value, bound, key) => h("label", {class: "price-field"}, h("span", {}, label),
      h("input", {type: "text", inputmode: "decimal", value: value ?? "", "data-key": key, placeholder: bound ?? ""}));
    const low = field(this.texts.priceFrom, gte, floor(facet?.min), "price from");
    const high = field(this.texts.priceTo, lte, ceil(facet?.max), "price to");
    const apply = (event) => {
      event.preventDefault();
      const [from, to] = [low, high].map((one) => amount(one.querySelector("input").value));
      const range = {...(from !== null && {gte: from}), ...(to !== null && {lte: to})};
      this.onchange(withFilter(this.filters, "price", Object.keys(range).length ? range : null));
    };
    const legend = currency ? `${this.texts.price} (${currency})` : this.texts.price;
    return h("form", {class: "price-form", onsubmit: apply, onchange: apply},
      h("fieldset", {class: "group"}, h("legend", {}, legend),
        h("div", {class: "price-row"}, low, high, h("button", {type: "submit", class: "visually-hidden", tabindex: "-1"}, this.texts.apply))));
  }

  #stockGroup() {
    const input = h("input", {
      type: "checkbox", role: "switch", checked: this.filters.in_stock !== "any", "data-key": "in_stock",
      onchange: (event) => this.onchange(withFilter(this.filters, "in_stock", event.target.checked ? null : "any")),
    });
    return h("label", {class: "option stock"}, h("span", {class: "option-name"}, this.texts.inStock), input);
  }

  #showChips(currency) {
    const price = (value) => money(value, currency, this.locale);
    const chips = chipsOf(this.filters, this.texts, price).map(({label, without}) =>
      h("li", {}, h("button", {type: "button", class: "chip", "aria-label": `${this.texts.remove}: ${label}`, onclick: () => this.onchange(without)},
        h("span", {}, label), icon("close"))));
    this.chips.replaceChildren(...chips);
    this.chips.hidden = chips.length === 0;
  }
}

/** Each value of `filters` as {label, without}: `without` are the filters when it is taken off. */
export function chipsOf(filters, texts, price) {
  const chips = [];
  for (const [name, value] of Object.entries(filters)) {
    if (name === "in_stock") chips.push({label: texts.soldOutToo, without: withFilter(filters, name, null)});
    else if (name === "price") chips.push({label: priceLabel(value, texts, price), without: withFilter(filters, name, null)});
    else for (const one of value) chips.push({label: name === "category" ? one.split(PATH).at(-1) : one, without: toggled(filters, name, one)});
  }
  return chips;
}

/** Category paths as branches: the inner ones are shown below one that is chosen, or where there is only one outer one. */
function branches(paths, chosen) {
  const roots = paths.filter((path) => !path.includes(PATH));
  const open = (path) => {
    const parent = path.split(PATH).slice(0, -1).join(PATH);
    return !parent || roots.length === 1 || chosen.some((one) => one === parent || `${one}${PATH}`.startsWith(`${parent}${PATH}`));
  };
  const rank = (path) => path.split(PATH).map((_, depth, parts) => String(paths.indexOf(parts.slice(0, depth + 1).join(PATH))).padStart(4, "0")).join();
  return paths.filter(open).sort((one, other) => (rank(one) < rank(other) ? -1 : 1));
}

function priceLabel({gte, lte}, texts, price) {
  return [gte !== undefined && `${texts.priceFrom} ${price(gte)}`, lte !== undefined && `${texts.priceTo} ${price(lte)}`]
    .filter(Boolean).join(" ");
}

/** How shops mean the commonest words: calmer than what the same words mean in a style sheet. */
const SHADES = {
  red: "#c8403c", orange: "#e8873a", yellow: "#f0c849", green: "#5b9a63", turquoise: "#49b5b0", blue: "#4571b8",
  purple: "#8559a5", pink: "#eb9ab6", brown: "#80563b", black: "#2c2b2e", grey: "#949599", gray: "#949599", white: "#fbfaf6",
};

function swatch(value) {
  const word = value.toLowerCase().replace(/\s+/g, "");
  const colour = SHADES[word] ?? word;
  if (!CSS.supports("color", colour)) return null;
  const dot = h("span", {class: "swatch", "aria-hidden": "true"});
  dot.style.backgroundColor = colour;
  return dot;
}

const floor = (value) => (Number.isFinite(value) ? Math.floor(value) : null);
const ceil = (value) => (Number.isFinite(value) ? Math.ceil(value) : null);
