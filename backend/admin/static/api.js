/* Calls to the API with the administrator's key, which lives in this tab only. */

const KEPT = "morelike-admin-key";

/** What the server said against a call. `status` 0: it did not answer. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  /** Whether another key would help. */
  get wantsKey() {
    return this.status === 401 || this.status === 403;
  }
}

/** The key of this tab; one that came behind the # of the address is taken out of it at once. */
export function adminKey() {
  const handed = new URLSearchParams(location.hash.slice(1)).get("key");
  if (handed) {
    keepKey(handed);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEPT);
}

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEPT, key);
  else sessionStorage.removeItem(KEPT);
}

/** Resolves to the body; rejects with a Refusal. */
export async function call(method, path, body) {
  const key = sessionStorage.getItem(KEPT);
  const headers = {Accept: "application/json", ...(key && {Authorization: `Bearer ${key}`}), ...(body && {"Content-Type": "application/json"})};
  let answer;
  try {
    answer = await fetch(path, {method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(20000)});
  } catch {
    throw new Refusal(0, "The server does not answer.");
  }
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(answer.status, said?.detail ?? `${answer.status} ${answer.statusText}`);
  return said;
}
