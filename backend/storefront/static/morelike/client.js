/* The API for pages that render their own results. */

/** What went wrong, in the words of the server where it had any. `kind`: problem, rate_limited, offline, unreachable. */
export class MorelikeError extends Error {
  constructor(kind, detail, {status = 0, title = "", problem = null, retryAfter = null} = {}) {
    super(detail);
    this.name = "MorelikeError";
    Object.assign(this, {kind, detail, status, title, problem, retryAfter});
  }
}

/**
 * Morelike's search over HTTP.
 *
 *     const shop = new Morelike({key: "mk_pub_…", url: "https://search.example"});
 *     const {hits, total} = await shop.search("orange plush", {filters: {in_stock: true}});
 */
export class Morelike {
  /** `url` is where this file came from unless said otherwise; `onCall` hears of each call before it is sent. */
  constructor({key = null, url = scriptOrigin(), onCall = null, timeout = 20000} = {}) {
    this.key = key;
    this.url = url.replace(/\/+$/, "");
    this.onCall = onCall;
    this.timeout = timeout;
  }

  /** Search by words, or by a whole request as `POST /v1/search` takes it. `signal` cancels. */
  search(query, {signal, ...options} = {}) {
    const request = typeof query === "string" ? {text: query, ...options} : {...query, ...options};
    return this.call("POST", "/v1/search", {body: request, signal});
  }

  /** Search by a recording of what is looked for; `request` holds the other fields. The answer says what was heard. */
  speak(audio, request = {}, {language, signal} = {}) {
    const form = {audio, ...(language && {language}), request: JSON.stringify(request)};
    return this.call("POST", "/v1/search", {form, signal});
  }

  /** The next list of a session: `said` holds feedback, text and filters as `POST /v1/search/{query_id}/refine` takes them. */
  refine(queryId, said, {signal} = {}) {
    return this.call("POST", `/v1/search/${encodeURIComponent(queryId)}/refine`, {body: said, signal});
  }

  /** Why a list is as it is: what each product weighed and where was looked; of `products`, what they would weigh. */
  explain(queryId, {products = [], signal} = {}) {
    const of = new URLSearchParams(products.map((id) => ["product_id", id]));
    return this.call("GET", `/v1/search/${encodeURIComponent(queryId)}/explain${of.size ? `?${of}` : ""}`, {signal});
  }

  /** Products like the product `id`, best first. */
  similar(id, {limit = 12, ...options} = {}) {
    return this.search({product_id: id, limit}, options);
  }

  /** One product with its variants, pictures and captions. */
  product(id, {signal} = {}) {
    return this.call("GET", `/v1/products/${encodeURIComponent(id)}`, {signal});
  }

  /** One served list again, as it was. */
  list(queryId, {signal} = {}) {
    return this.call("GET", `/v1/search/${encodeURIComponent(queryId)}`, {signal});
  }

  /** Absolute address of an image a hit names, `width` pixels wide where this server keeps the image. */
  imageUrl(path, width = null) {
    const url = safeUrl(path, this.url);
    if (!url || !width || !new URL(url).pathname.startsWith("/images/")) return url;
    return `${url.split("?")[0]}?w=${width}`;
  }

  /** Any call; resolves to the body, rejects with a MorelikeError, or an AbortError when `signal` said so. */
  async call(method, path, {body, form, signal} = {}) {
    const headers = {Accept: "application/json"};
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    this.onCall?.({method, url: this.url + path, headers, body, form});
    const limit = AbortSignal.timeout(this.timeout);
    let response;
    try {
      response = await fetch(this.url + path, {
        method, headers, body: form ? formOf(form) : body === undefined ? undefined : JSON.stringify(body), credentials: "omit",
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
      if (response.ok) return await response.json();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new MorelikeError(navigator.onLine === false ? "offline" : "unreachable", String(error.message || error));
    }
    throw await problemOf(response);
  }
}

function formOf(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

async function problemOf(response) {
  const problem = await response.json().catch(() => null);
  const after = Number(response.headers.get("Retry-After"));
  return new MorelikeError(
    response.status === 429 ? "rate_limited" : "problem",
    problem?.detail || `${response.status} ${response.statusText}`.trim(),
    {status: response.status, title: problem?.title || "", problem, retryAfter: after > 0 ? after : null},
  );
}

/** `value` as an absolute http(s) address, or null: nothing else is ever put into a link or an image. */
export function safeUrl(value, base) {
  if (!value) return null;
  try {
    const url = new URL(value, base);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

// read while the script runs: later there is no current script
const SCRIPT = document.currentScript;

export function scriptOrigin() {
  return SCRIPT?.src ? new URL(SCRIPT.src).origin : location.origin;
}

export function scriptOptions() {
  return SCRIPT ? {...SCRIPT.dataset} : {};
}
