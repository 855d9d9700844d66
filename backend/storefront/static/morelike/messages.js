/* What stands where products would: nothing found, nothing reachable. */

import {h, icon} from "./elements.js";

/** A quiet panel with a heading, a sentence and what can be done. */
function panel(kind, iconName, title, text, ...actions) {
  return h("div", {class: `message ${kind}`, role: kind === "failed" ? "alert" : null}, h("span", {class: "message-icon"}, icon(iconName)),
    h("h2", {}, title), h("p", {}, text), actions.length > 0 && h("div", {class: "message-actions"}, actions));
}

/** Nothing found; `chips` are filters that could be taken off one by one. */
export function emptyMessage(texts, chips, onfilters) {
  const buttons = chips.map(({label, without}) => h("button", {
    type: "button", class: "chip", "aria-label": `${texts.remove}: ${label}`, onclick: () => onfilters(without),
  }, h("span", {}, label), icon("close")));
  if (chips.length > 1) buttons.push(h("button", {type: "button", class: "text-button", onclick: () => onfilters({})}, texts.clearFilters));
  return panel("empty", "leaf", texts.emptyTitle, texts.emptyText, ...buttons);
}

/** The words for `error`; `seconds` is how long a rate limit asks to wait. */
export function failedMessage(texts, error, onretry, seconds = null) {
  const retry = h("button", {type: "button", class: "button", onclick: onretry}, texts.retry);
  if (error.kind === "offline") return panel("failed", "cloud", texts.offlineTitle, texts.offlineText, retry);
  if (error.kind === "unreachable") return panel("failed", "cloud", texts.unreachableTitle, texts.unreachableText, retry);
  if (error.kind === "rate_limited") {
    return panel("failed", "leaf", texts.limitedTitle, texts.limitedText.replace("{seconds}", String(seconds)), retry);
  }
  return panel("failed", "cloud", texts.failedTitle, error.detail, retry);
}
