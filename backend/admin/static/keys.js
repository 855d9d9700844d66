/* The keys that work, without their secrets. */

import {command, fill, h, when} from "./elements.js";

export function showKeys(place, keys) {
  fill(place,
    h("table", {class: "table card"}, h("caption", {class: "visually-hidden"}, "Keys"),
      h("thead", {}, h("tr", {}, ["Name", "Scope", "Begins with", "Origins", "Made"].map((name) => h("th", {scope: "col"}, name)))),
      h("tbody", {}, keys.map((key) => h("tr", {},
        h("td", {"data-label": "Name", class: "breaks"}, key.name),
        h("td", {"data-label": "Scope"}, h("span", {class: "tag"}, key.scope)),
        h("td", {"data-label": "Begins with"}, h("code", {}, `${key.begins_with}…`)),
        h("td", {"data-label": "Origins", class: "breaks"}, key.origins.join(", ") || "–"),
        h("td", {"data-label": "Made"}, when(key.created_at)))))),
    h("p", {class: "soft"}, "Keys are made and revoked in a terminal, where they are shown once:"),
    command("morelike key create --scope server --name \"stock sync\""));
}
