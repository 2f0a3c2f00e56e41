/**
 * Questions to the HTTP API beside the page. A function key, where one is needed, is sent as a header and kept in
 * sessionStorage: it ends with the tab, and no address, history or log has it.
 */

const KEY = "rollups.key";

/** What went wrong: `kind` says what the page can do about it. */
export class ApiError extends Error {
  /** @param {"key" | "missing" | "storage" | "request" | "server" | "offline" | "signin"} kind @param {string} message */
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (/** @type {string} */ text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/**
 * @param {string} path below /api, encoded
 * @param {Record<string, string | number | boolean | null | undefined>} [query] what is empty is left out
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>} Rejects with an ApiError, or the signal's reason.
 */
export async function get(path, query = {}, signal) {
  const url = new URL(path, location.href);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  /** @type {Response} */
  let response;
  try {
    // A redirect would lead to a sign-in page, which is for the whole page and not for a request.
    response = await fetch(url, { headers: key.get() ? { "x-functions-key": key.get() } : {}, redirect: "manual", signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("offline", "The server does not answer. Is this machine online, and the app running?");
  }
  if (response.type === "opaqueredirect") throw new ApiError("signin", "You are no longer signed in. Load this page again.");
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  throw refusal(response.status, body?.error?.message);
}

/** @param {number} status @param {string | undefined} message */
function refusal(status, message) {
  const text = message ? message[0].toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".") : `The server answered ${status}.`;
  // The Functions host asks for a key without a word; a refusal with one is the app's, of who did not sign in.
  if (status === 401 || status === 403) return new ApiError(message ? "signin" : "key", text);
  if (status === 404) return new ApiError("missing", text);
  if (status === 503) return new ApiError("storage", text);
  return new ApiError(status >= 400 && status < 500 ? "request" : "server", text);
}

/** A job's path. @param {string} account @param {string} job */
export function jobPath(account, job) {
  return `jobs/${encodeURIComponent(account)}/${encodeURIComponent(job)}`;
}
