/* What shoppers do, as it arrives: the last events with their verdicts, counts, what is explored and what is tried. */

import {call} from "./api.js";
import {count, fill, h, icon, number, percent, when, words} from "./elements.js";

const PAGE = 40;
const FILTERS = [["all", "all"], ["accepted", "accepted"], ["rejected", "refused"]];
const LISTS = {given: "", joined: "joined to its list", pending: "its list is not here yet", none: "on no known list"};

export class Events {
  /** `sheet` shows one. */
  constructor(place, sheet) {
    Object.assign(this, {place, sheet, verdict: "all", seen: ""});
    this.filters = h("div", {class: "filters"}, h("div", {class: "chips", role: "group", "aria-label": "Verdict of events"},
      FILTERS.map(([verdict, label]) => h("button", {type: "button", class: "chip", "data-verdict": verdict, "aria-pressed": String(verdict === this.verdict), onclick: () => this.#filter(verdict)}, label))));
    this.body = h("div", {class: "stream card"});
    place.replaceChildren(this.filters, this.body);
  }

  /** The newest again; what has just come is let in gently. */
  async show() {
    const {verdict} = this;
    const {events} = await call("GET", `/v1/events?limit=${PAGE}&verdict=${verdict}`);
    if (verdict !== this.verdict) return;  // others are wanted meanwhile
    const seen = JSON.stringify(events);
    if (seen === this.seen) return;
    const before = this.seen && new Set(JSON.parse(this.seen).map(key));
    this.seen = seen;
    const focused = document.activeElement?.closest(".stream tr")?.dataset.event;
    this.body.replaceChildren(events.length ? this.#table(events, before) : this.#nothing());
    this.body.querySelector(`tr[data-event="${focused}"] .link`)?.focus();
  }

  async #filter(verdict) {
    Object.assign(this, {verdict, seen: ""});
    for (const chip of this.filters.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", String(chip.dataset.verdict === verdict));
    await this.show().catch(() => null);  // the next look says what is wrong
  }

  #table(events, before) {
    return h("table", {class: "table"}, h("caption", {class: "visually-hidden"}, "Events, newest first"),
      h("thead", {}, h("tr", {}, ["Verdict", "What", "From", "Arrived"].map((name) => h("th", {scope: "col"}, name)))),
      h("tbody", {}, events.map((one) => h("tr", {class: before && !before.has(key(one)) ? "opens fresh" : "opens", "data-event": key(one), onclick: () => this.#open(one)},
        h("td", {"data-label": "Verdict"}, verdictOf(one)),
        h("td", {"data-label": "What"}, h("button", {type: "button", class: "link", onclick: (event) => { event.stopPropagation(); this.#open(one); }}, nameOf(one)),
          h("div", {class: "soft detail"}, one.verdict === "rejected" ? one.detail : [one.product_id, LISTS[one.attribution]].filter(Boolean).join(" · "))),
        h("td", {"data-label": "From", class: "soft"}, [one.surface, one.device].filter(Boolean).join(", ") || one.source || "–"),
        h("td", {"data-label": "Arrived"}, when(one.received_at))))));
  }

  #nothing() {
    return h("div", {class: "empty"}, h("p", {}, this.verdict === "rejected" ? "No event was refused."
      : "Nothing has arrived yet. Search on your page, look at a product: what the page sends stands here a moment later."));
  }

  #open(one) {
    const facts = [["Verdict", h("span", {class: "with-tag"}, verdictOf(one), one.code)], ["Found", one.detail], ["Product", one.product_id], ["List", one.query_id],
      ["Known", LISTS[one.attribution] || (one.attribution && "its list was named")], ["Came as", one.source], ["From", one.origin ?? [one.surface, one.device].filter(Boolean).join(", ")], ["Arrived", when(one.received_at)]];
    this.sheet.open(nameOf(one),
      h("dl", {class: "facts"}, facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {class: "breaks"}, value)))),
      one.payload && h("h3", {}, "What was sent"), one.payload && h("pre", {tabindex: "0"}, pretty(one.payload)));
  }
}

/** Counts of the last day, what is explored at what cost, and the experiments that run. */
export function showCollected(place, {events, exploration, experiments}) {
  const verdicts = [["accepted", "accepted"], ["duplicate", "came twice"], ["rejected", "refused"], ["ignored", "ignored"]].filter(([name]) => events.last_day[name]);
  const most = Math.max(1, ...Object.values(events.types));
  fill(place,
    h("div", {class: "card tally"}, h("h3", {}, "The last 24 hours"),
      h("dl", {class: "numbers"}, h("div", {}, h("dt", {}, "searches"), h("dd", {}, number(events.searches))), verdicts.map(([name, label]) => h("div", {}, h("dt", {}, label), h("dd", {class: name === "rejected" ? "bad" : null}, number(events.last_day[name]))))),
      events.attributed !== null && h("div", {class: "meter-line"},
        h("progress", {max: "1", class: events.attributed < 0.5 ? "full" : null, value: events.attributed.toFixed(3), "aria-label": "Attributed share"}),
        h("small", {}, `${percent(events.attributed, 0)} know the list that they were done on`, events.pending > 0 && `; ${number(events.pending)} wait for theirs`)),
      Object.keys(events.types).length > 0 && h("ul", {class: "bars", "aria-label": "Events by type"}, Object.entries(events.types).map(([type, n]) =>
        h("li", {}, h("span", {}, words(type)), h("progress", {max: String(most), value: String(n), "aria-hidden": "true"}), h("b", {}, number(n))))),
      Object.keys(events.refused).length > 0 && h("p", {class: "soft"}, "Refused: ", Object.entries(events.refused).map(([code, n]) => `${number(n)} ${words(code)}`).join(", "), "."),
      events.bots > 0 && h("p", {class: "soft"}, `${count(events.bots, "event")} of programs: kept, never learned from.`)),
    h("div", {class: "card tally"}, h("h3", {}, "Exploration"),
      exploration.share > 0
        ? [h("p", {class: "big"}, percent(exploration.share, 1), h("small", {}, " of sessions")),
          h("p", {class: "soft"}, `It costs at most ${percent(exploration.of_all, 2)} of what pages of ${exploration.page} are worth, and ${percent(exploration.of_a_list, 2)} of a list that explores.`),
          h("p", {class: "soft"}, `Coins had a say in ${count(events.randomised, "list")} of the last day.`)]
        : h("p", {class: "soft"}, "No session explores.")),
    h("div", {class: "card tally"}, h("h3", {}, "Running experiments"),
      experiments.length ? h("ul", {class: "trials"}, experiments.map((one) => h("li", {},
        h("span", {class: "with-tag"}, h("b", {class: "breaks"}, one.name), h("span", {class: "tag"}, one.method === "ab" ? "A/B" : "interleaved")),
        h("span", {class: "soft breaks"}, `${one.id} · ${one.arms.join(" against ")} · ${percent(one.traffic, 1)} of shoppers · since `, when(one.started_at)))))
        : h("p", {class: "soft"}, "None. Everybody is served by the live generation.")));
}

function key({verdict, id}) {
  return `${verdict}-${id}`;
}

function nameOf(one) {
  return one.verdict === "rejected" ? words(one.code) : words(one.type);
}

function verdictOf(one) {
  if (one.verdict === "rejected") return h("span", {class: "tag bad"}, icon("problem"), "refused");
  if (one.is_bot) return h("span", {class: "tag warn"}, icon("optional"), "program");
  return h("span", {class: "tag good"}, icon("done"), "accepted");
}

function pretty(payload) {
  try {
    return JSON.stringify(JSON.parse(payload), null, 2);
  } catch {
    return payload;  // cut where it was too long
  }
}
