/* The shop's own page: the comparison with a keyword search, the question for a key, the drawer with the call just made.
   They only listen to what morelike.js tells about itself, as any page could. */

const shop = document.querySelector("#shop");
const note = document.createElement("p");
note.className = "comparison";
note.slot = "note";
note.setAttribute("role", "status");
shop.append(note);

/* the comparison */

shop.addEventListener("morelike:results", ({detail}) => detail.partial || compare(detail.state, detail.answer));
shop.addEventListener("morelike:error", () => {
  compared = null;
  note.replaceChildren();
});

let compared = null;

async function compare({text, picture, product}, {total}) {
  const query = picture || product || total === 0 ? "" : text.trim();
  if (query === compared) return;  // the same search, refined or filtered
  compared = query;
  note.replaceChildren();
  if (!query) return;
  const response = await fetch(`/demo/keyword-count?${new URLSearchParams({text})}`).catch(() => null);
  if (!response?.ok) return;
  const {text: counted, products} = await response.json();
  if (counted !== text || query !== compared) return;
  const found = document.createElement("strong");
  found.textContent = products === 0 ? "nothing" : products === 1 ? "1 product" : `${products} products`;
  note.replaceChildren("A keyword search over the same titles finds ", found, ".");
}

/* a shop that is not the demo asks for a key: whoever looks at it here types one, for this tab */

shop.addEventListener("morelike:error", ({detail}) => {
  if (detail.error.status !== 401) return;
  const {client} = shop.morelike;
  const kept = sessionStorage.getItem("storefront-key");
  if (kept && client.key !== kept) enter(kept);
  else askForKey();
});

function enter(key) {
  sessionStorage.setItem("storefront-key", key);
  shop.morelike.client.key = key;
  shop.morelike.search();
}

function askForKey() {
  const form = document.createElement("form");
  const field = document.createElement("input");
  const go = document.createElement("button");
  form.className = "key-form";
  field.placeholder = "mk_pub_…";
  field.autocomplete = "off";
  field.required = true;
  field.setAttribute("aria-label", "Storefront key");
  go.textContent = "Use this key";
  form.append(field, go);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(field.value.trim());
  });
  note.replaceChildren("This shop asks for a storefront key. ", form);
}

/* the drawer */

const button = document.querySelector(".call-button");
const drawer = document.querySelector(".call");
const code = drawer.querySelector("code");
const said = drawer.querySelector(".call-note");
const recent = drawer.querySelector(".call-recent");
const KEPT_CALLS = 6;
let calls = [];
let shown = null;

shop.addEventListener("morelike:call", ({detail}) => {
  // what was sent while typing makes way for what follows it
  calls = [detail, ...calls.filter((call) => !call.body?.partial)].slice(0, KEPT_CALLS);
  show(detail);
});

function show(call) {
  shown = call;
  code.textContent = curl(call, shortened);
  said.textContent = "";
  recent.replaceChildren(...calls.map((one) => {
    const choice = document.createElement("button");
    choice.type = "button";
    choice.textContent = `${one.method} ${new URL(one.url).pathname.replace(/q_[\w-]+/, "…")}${hint(one)}`;
    choice.setAttribute("aria-pressed", String(one === shown));
    choice.addEventListener("click", () => {
      show(one);
      recent.querySelector("[aria-pressed=true]").focus();
    });
    return choice;
  }));
}

/** What a search was for, in a few characters. */
function hint({body, form}) {
  const said = form ? "recording" : body?.feedback ? body.feedback.map(({value, box}) => (box ? "▢" : value > 0 ? "+" : value < 0 ? "−" : "0")).join(" ") : body?.cursor ? "next page" : body?.text || (body?.image && "picture") || body?.product_id || "";
  return said && ` · ${said.length > 22 ? `${said.slice(0, 20)}…` : said}`;
}

/** `call` as a command for a shell. The body goes in as a here-document: no quoting to break, no limit on its length. */
function curl({method, url, headers, body, form}, show) {
  const lines = [`curl -sS ${method === "GET" ? "" : `-X ${method} `}${quoted(url)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`  -H ${quoted(`${name}: ${value}`)}`);
  if (form) {
    const fields = Object.entries(form).map(([name, value]) =>
      value instanceof Blob ? `${name}=@speech.${value.type.replace(/^\w+\/|;.*$/g, "") || "webm"}` : `${name}=${value}`);
    return [...lines, ...fields.map((field) => `  -F ${quoted(field)}`)].join(" \\\n");
  }
  if (body === undefined) return lines.join(" \\\n");
  const json = JSON.stringify(body, (_, value) => (typeof value === "string" ? show(value) : value), 2);
  return `${lines.join(" \\\n")} \\\n  --data-binary @- <<'JSON'\n${json}\nJSON`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function shortened(value) {
  return value.length > 1000 ? `${value.slice(0, 48)}… (${Math.round(value.length / 1024)} KB; Copy takes all of it)` : value;
}

function setOpen(open) {
  drawer.hidden = !open;
  button.setAttribute("aria-expanded", String(open));
  (open ? drawer.querySelector(".copy") : button).focus();
}

button.addEventListener("click", () => setOpen(drawer.hidden));
drawer.querySelector(".close").addEventListener("click", () => setOpen(false));
drawer.addEventListener("keydown", (event) => event.key === "Escape" && setOpen(false));
drawer.querySelector(".copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(curl(shown, (value) => value));
    said.textContent = "Copied. Paste it into a terminal.";
  } catch {
    getSelection().selectAllChildren(code);
    said.textContent = "The browser keeps the clipboard to itself; the command is selected instead.";
  }
});

/* the way past the header */

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  shop.morelike?.focusSearch();
});
