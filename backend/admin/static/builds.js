/* What answers searches, the switch that is under way, and what one could go back to. */

import {count, fill, h, number, when} from "./elements.js";

const STEPS = {open: "Opening the encoder", create: "Making its collections", backfill: "Indexing the catalogue",
  verify: "Comparing with the exact answers", calibrate: "Measuring its scores", promote: "Going live", done: "Ready"};

export function showUse(place, {serving, index, catalogue, shop}) {
  const rows = [
    ["Generation", serving ? h("span", {}, serving.generation, " ", h("small", {}, "live since ", when(serving.live_at))) : "None is live"],
    ["Encoder", serving ? h("span", {class: "with-tag"}, h("span", {class: "breaks"}, serving.encoder), serving.drawings_only && h("span", {class: "tag warn"}, "drawings only")) : "–"],
    ["Index build", serving ? `b${serving.build}` : "–"],
    ["Vectors", h("span", {}, `${number(index.vectors)} in ${index.engine}`, index.serves_well && meter(index.vectors, index.serves_well, "of what Milvus Lite serves well"))],
    ["Products", h("span", {}, number(catalogue.products), catalogue.waiting > 0 && h("small", {}, ` ${number(catalogue.waiting)} waiting`))],
    ["Shop", shop && h("span", {class: "breaks"}, shop.url, " ", h("small", {}, "compared ", when(shop.last_at)))],
  ].filter(([, value]) => value);
  fill(place, h("dl", {class: "facts"}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

function meter(value, most, label) {
  const share = Math.min(1, value / most);
  return h("span", {class: "meter-line"},
    h("progress", {class: share > 0.7 ? "full" : null, max: "1", value: share.toFixed(3), "aria-label": label}),
    h("small", {}, `${Math.round(share * 100)}% ${label}`));
}

/** The build that is being made; which one and its step, or nothing while there is none. */
export function showSwitch(place, builds, on) {
  const running = builds.find((one) => one.state === "building" || (one.state === "ready" && one.promote && !one.live));
  place.hidden = !running;
  if (!running) return "";
  const {products, total} = running.progress ?? {products: 0, total: 0};
  const percent = total ? Math.floor((products / total) * 100) : 0;
  const changed = fill(place,
    h("div", {class: "switch-head"}, h("h3", {}, running.adapted ? "Making the index of an adapter" : "Switching the encoder"), h("span", {class: "percent"}, running.step === "backfill" ? `${percent}%` : "")),
    h("p", {class: "breaks"}, running.source ?? running.encoder),
    h("progress", {max: "100", ...(running.step === "backfill" && {value: String(percent)}), "aria-label": "Progress of the switch"}),
    h("p", {class: "soft"}, STEPS[running.step] ?? running.step, running.step === "backfill" && total > 0 && `: ${number(products)} of ${count(total, "product")}`, ". Searches go on as before."),
    running.error && h("p", {class: "trouble"}, running.error));
  if (changed) place.append(h("button", {type: "button", class: "button small", onclick: () => on.drop(running)}, "Give it up"));
  return `${running.id} ${running.step}`;
}

export function showHistory(place, generations, builds, on) {
  const live = generations.find((one) => one.state === "live");
  const kept = new Map(builds.map((one) => [one.id, one]));
  const changed = fill(place,
    h("table", {class: "table"}, h("caption", {class: "visually-hidden"}, "Generations"),
      h("thead", {}, h("tr", {}, ["Generation", "Encoder", "Build", ""].map((name) => h("th", {scope: "col"}, name)))),
      h("tbody", {}, generations.slice(0, 12).map((one) => {
        const build = kept.get(one.build);
        const canGoLive = one.state !== "live" && ["ready", "retired"].includes(one.state) && build?.state === "ready";
        return h("tr", {},
          h("td", {"data-label": "Generation"}, one.id, " ", h("span", {class: `tag ${one.state === "live" ? "good" : ""}`}, one.state),
            one.gate_passed !== null && h("small", {}, ...cameOf(one))),
          h("td", {"data-label": "Encoder", class: "breaks"}, one.encoder),
          h("td", {"data-label": "Build"}, `b${one.build}`, build && build.state !== "ready" && h("small", {}, ` ${build.state}`)),
          h("td", {class: "actions"},
            one === live && one.replaced && h("button", {type: "button", class: "button small", "data-back": one.id}, `Go back to ${one.replaced}`),
            canGoLive && h("button", {type: "button", class: "button small", "data-live": one.id}, "Make live")));
      }))));
  if (!changed) return;
  for (const button of place.querySelectorAll("[data-back]")) button.addEventListener("click", () => on.back(live));
  for (const button of place.querySelectorAll("[data-live]")) button.addEventListener("click", () => on.promote(button.dataset.live));
}

/** What made a generation, and why its gate refused it; what a night's gates say fills a page of its own. */
function cameOf({id, gate_report: report, gate_passed: passed, reasons}) {
  if (!report.night) return [passed ? " adapter" : ` adapter: ${reasons.join(" ")}`];
  return [" of a night", !passed && [": ", h("a", {href: `/admin/generations/${id}`}, "refused, and why")]];
}
