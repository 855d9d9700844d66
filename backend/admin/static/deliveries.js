/* Deliveries of webhooks: what came, what became of it, what it said, and once more. */

import {call} from "./api.js";
import {count, h, icon, number, when} from "./elements.js";

const VERDICTS = ["waiting", "applied", "unchanged", "stale", "duplicate", "ignored", "rejected", "failed", "parked"];
const TONE = {applied: "good", rejected: "bad", parked: "bad", failed: "warn"};
const REPLAYABLE = new Set(["applied", "unchanged", "stale", "duplicate", "ignored", "failed", "parked"]);
const PAGE = 25;

export class Deliveries {
  /** `sheet` shows one; `guarded(what, does)` does it with a key. */
  constructor(place, sheet, guarded) {
    Object.assign(this, {place, sheet, guarded, verdict: "", source: "", rows: [], cursor: null, pages: 1, sources: []});
    this.filters = h("div", {class: "filters"});
    this.body = h("div", {});
    this.more = h("button", {type: "button", class: "button", hidden: true, onclick: () => this.#more()}, "Show older ones");
    place.replaceChildren(this.filters, this.body, this.more);
  }

  /** The newest again, as many as are shown. `webhooks` are the platforms. */
  async show(webhooks) {
    this.sources = webhooks.map((one) => one.source);
    const page = await call("GET", this.#address(PAGE * this.pages));
    this.#take(page, page.deliveries);
  }

  async #more() {
    const page = await call("GET", `${this.#address(PAGE)}&cursor=${this.cursor}`);
    this.pages += 1;
    this.#take(page, [...this.rows, ...page.deliveries]);
  }

  #address(limit) {
    const query = new URLSearchParams({limit: String(Math.min(500, limit)), ...(this.verdict && {verdict: this.verdict}), ...(this.source && {source: this.source})});
    return `/v1/deliveries?${query}`;
  }

  #take(page, rows) {
    const seen = JSON.stringify([rows, page.counts, this.verdict, this.source, this.sources]);
    this.cursor = page.cursor;
    this.more.hidden = page.cursor === null;
    if (seen === this.seen) return;
    Object.assign(this, {seen, rows});
    this.#showFilters(page.counts);
    this.body.replaceChildren(rows.length ? this.#table(rows) : this.#nothing());
  }

  #showFilters(counts) {
    const total = Object.values(counts).reduce((sum, one) => sum + one, 0);
    const chip = (verdict, label, held) => h("button", {
      type: "button", class: "chip", "aria-pressed": String(this.verdict === verdict), onclick: () => this.#filter({verdict}),
    }, label, h("span", {class: "chip-count"}, number(held)));
    const chips = VERDICTS.filter((one) => counts[one] || one === this.verdict).map((one) => chip(one, one, counts[one] ?? 0));
    const select = h("select", {"aria-label": "Platform", onchange: (event) => this.#filter({source: event.target.value})},
      h("option", {value: ""}, "All platforms"), this.sources.map((one) => h("option", {value: one, selected: one === this.source}, one)));
    const parked = counts.parked > 0 && h("button", {type: "button", class: "button small", onclick: () => this.#replay({verdict: "parked"})}, "Replay all parked");
    this.filters.replaceChildren(h("div", {class: "chips", role: "group", "aria-label": "Verdict"}, chip("", "all", total), chips), h("div", {class: "filter-tools"}, parked || "", select));
    this.filters.hidden = total === 0;
  }

  async #filter(change) {
    Object.assign(this, change, {pages: 1});
    await this.show(this.sources.map((source) => ({source})));
  }

  #table(rows) {
    return h("table", {class: "table card"}, h("caption", {class: "visually-hidden"}, "Deliveries, newest first"),
      h("thead", {}, h("tr", {}, ["Verdict", "What", "Products", "Arrived"].map((name) => h("th", {scope: "col"}, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {class: "opens", onclick: () => this.#open(row.id)},
        h("td", {"data-label": "Verdict"}, verdictOf(row), row.repeats > 0 && h("small", {}, ` +${count(row.repeats, "repetition")}`)),
        h("td", {"data-label": "What"}, h("button", {type: "button", class: "link", onclick: (event) => { event.stopPropagation(); this.#open(row.id); }}, `${row.source} ${row.topic}`),
          row.detail && h("div", {class: "soft detail"}, row.detail)),
        h("td", {"data-label": "Products", class: "breaks"}, row.products.slice(0, 3).join(", ") || "–", row.products.length > 3 && ` and ${row.products.length - 3} more`),
        h("td", {"data-label": "Arrived"}, when(row.received_at))))));
  }

  #nothing() {
    if (this.verdict || this.source) return h("p", {class: "card empty"}, "None of these.");
    return h("div", {class: "card empty"}, h("p", {}, "Nothing has arrived yet. What a shop sends stands here with what became of it: applied, stale, a duplicate, a wrong signature."));
  }

  async #open(id) {
    const one = await this.guarded("look into a delivery", () => call("GET", `/v1/deliveries/${id}`));
    if (!one) return;
    const facts = [["Verdict", h("span", {class: "with-tag"}, verdictOf(one), one.detail)], ["Key", one.key], ["Happened", one.triggered_at && when(one.triggered_at)],
      ["Arrived", when(one.received_at)], ["Repetitions", number(one.repeats)], ["Tries", number(one.attempts)], ["Next try", one.due_at && when(one.due_at)], ["Size", count(one.size, "byte")]];
    this.sheet.open(`${one.source} ${one.topic}`,
      h("dl", {class: "facts"}, facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {class: "breaks"}, value)))),
      one.results.length > 0 && h("ul", {class: "results"}, one.results.slice(0, 50).map((result) => h("li", {}, h("code", {}, result.id), " ", h("span", {class: "tag"}, result.status), result.detail && ` ${result.detail}`))),
      h("h3", {}, "Headers"), h("pre", {tabindex: "0"}, Object.entries(one.headers).map(([name, value]) => `${name}: ${value}`).join("\n") || "none are kept"),
      h("h3", {}, "Body"), h("pre", {tabindex: "0"}, pretty(one.body)),
      REPLAYABLE.has(one.verdict) && h("div", {class: "sheet-actions"}, h("button", {type: "button", class: "button primary", onclick: () => this.#replay({ids: [one.id]})}, "Apply it again"),
        h("p", {class: "soft"}, "The newest change still wins, so this cannot undo one.")));
  }

  async #replay(which) {
    const done = await this.guarded("apply deliveries again", () => call("POST", "/v1/deliveries:replay", which));
    if (!done) return;
    this.sheet.close(`${count(done.replayed, "delivery", "deliveries")} will be applied again.`);
    this.seen = null;
    await this.show(this.sources.map((source) => ({source})));
  }
}

function verdictOf({verdict}) {
  return h("span", {class: `tag ${TONE[verdict] ?? ""}`}, icon(TONE[verdict] === "good" ? "done" : TONE[verdict] ? "problem" : "optional"), verdict);
}

function pretty(body) {
  if (body === null) return "Not kept: the delivery was not signed.";
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
