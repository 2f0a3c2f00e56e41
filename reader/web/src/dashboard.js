/**
 * The dashboard's page: which view the address names, what refreshes it, and what is said when that fails.
 *
 *     #/                    the jobs; filters and order follow as ?…
 *     #/job/ACCOUNT/JOB     one job
 */

import { ApiError, get, key } from "./api.js";
import { fill, h, icon, ICONS } from "./dom.js";
import { ago, count, milliseconds, moment } from "./format.js";
import { JobList } from "./joblist.js";
import { JobPage } from "./jobpage.js";
import { focusSearch } from "./keys.js";
import { Refresh } from "./refresh.js";
import * as theme from "./theme.js";

theme.restore();

const page = /** @type {HTMLElement} */ (document.getElementById("page"));
const health = h("p", { class: "health note", role: "status" });
const live = h("span", { class: "live note" });
const pause = h("button", { type: "button", class: "button quiet square", on: { click: () => refresh.toggle() } });
const forget = h("button", { type: "button", class: "button quiet", hidden: true, on: { click: forgetKey } }, "Forget key");
const trouble = h("div", { class: "trouble", role: "alert", hidden: true });
const main = h("main", {});
const refresh = new Refresh(load);

/** @type {JobList | JobPage | null} */
let view = null;
/** The jobs as they were left, for the way back from a job. @type {JobList | null} */
let list = null;
let loaded = false;
let abort = new AbortController();

fill(
  page,
  h(
    "header",
    { class: "bar-top" },
    h("a", { class: "brand", href: "#/" }, h("img", { src: "dashboard/icon.svg", alt: "", width: 26, height: 26 }), "Batch rollups"),
    health,
    h("span", { class: "spring" }),
    h("div", { class: "tools" }, live, pause, forget, theme.toggle()),
  ),
  trouble,
  main,
);
refresh.addEventListener("change", drawLive);
addEventListener("hashchange", route);
addEventListener("offline", () => drawTrouble(new ApiError("offline", "This machine is offline.")));
focusSearch();
route();

/** Shows the view of the address. */
function route() {
  abort.abort();
  if (view instanceof JobPage) view.dispose();
  view = null;
  loaded = false;
  trouble.hidden = true;
  const job = /^#\/job\/([^/]+)\/([^/]+)$/.exec(location.hash);
  try {
    if (job) view = new JobPage(decodeURIComponent(job[1]), decodeURIComponent(job[2]), failed);
  } catch {
    location.hash = "#/"; // no address of ours
    return;
  }
  if (!view) {
    document.title = "Batch rollups";
    // Back from a job the list is as it was, and the address says so again.
    if (list && (location.hash === "" || location.hash === "#/")) list.remember();
    else list = new JobList({ address: () => location.hash, changed: () => void refresh.now() });
    view = list;
    loaded = list.all.length > 0;
  }
  fill(main, view.element, !loaded && h("p", { class: "loading note", role: "status" }, "Loading …"));
  if (!loaded) view.element.hidden = true;
  else if (view instanceof JobList) view.draw();
  scrollTo(0, 0);
  void refresh.now();
}

async function load() {
  abort.abort(); // an answer to an earlier question could come after the one to this
  abort = new AbortController();
  const [asked, { signal }] = [view, abort];
  try {
    await asked?.load(signal);
    if (signal.aborted) return;
    refresh.updated = Date.now();
    if (asked) reveal(asked);
    trouble.hidden = true;
    forget.hidden = !key.get();
    await loadHealth(signal); // after what was asked for: it reads all jobs too
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}

/** @param {JobList | JobPage} shown */
function reveal(shown) {
  loaded = true;
  main.querySelector(".loading")?.remove();
  shown.element.hidden = false;
}

/** @param {AbortSignal} signal */
async function loadHealth(signal) {
  const found = await get("health", {}, signal);
  const letters = found.deadLetters;
  const newest = milliseconds(found.newestEvent);
  fill(
    health,
    h("span", { class: "state ok" }, "Storage answers"),
    Number.isFinite(newest) && h("span", { title: `${moment(newest)} UTC` }, `newest event ${ago(newest, Date.now())}`),
    letters &&
      h(
        "span",
        { class: letters.count ? "warn-text" : "", title: letters.count ? "What could not be read; `rollups dead-letters list` says why" : "" },
        `${count(letters.count)}${letters.more ? "+" : ""} dead letter${letters.count === 1 ? "" : "s"}`,
      ),
  );
}

function drawLive() {
  const { paused, busy, updated } = refresh;
  live.classList.toggle("on", !paused);
  live.classList.toggle("busy", busy);
  const at = Number.isFinite(updated) ? `updated ${moment(updated).slice(11)} UTC` : "";
  fill(live, h("i", { "aria-hidden": "true" }), h("span", {}, paused ? "Paused" : "Live"), h("span", { class: "updated" }, at));
  fill(pause, icon(paused ? ICONS.play : ICONS.pause));
  pause.setAttribute("aria-label", paused ? "Refresh by itself again" : "Pause refreshing");
  pause.title = paused ? "Refresh by itself again" : "Pause refreshing: every 15 s while this page is in sight";
}

/** @param {unknown} error */
function failed(error) {
  const problem = error instanceof ApiError ? error : new ApiError("server", "This page met an error of its own; the browser's console has it.");
  if (problem !== error) console.error(error);
  if (problem.kind === "key") askForKey(Boolean(key.get()));
  drawTrouble(problem);
}

/** @param {ApiError} problem */
function drawTrouble(problem) {
  const titles = {
    key: "A function key is needed",
    missing: "Not found",
    storage: "The storage account is away",
    request: "The server refused this",
    server: "Something went wrong",
    offline: "No connection",
    signin: "Not signed in",
  };
  const actions = {
    key: () => h("button", { type: "button", class: "button primary", on: { click: () => askForKey(false) } }, "Enter the key"),
    missing: () => h("a", { class: "button", href: "#/" }, "All jobs"),
    signin: () => h("button", { type: "button", class: "button primary", on: { click: () => location.reload() } }, "Load again"),
    retry: () => h("button", { type: "button", class: "button", on: { click: () => void refresh.now() } }, "Try again"),
  };
  const action = problem.kind in actions ? actions[/** @type {"key" | "missing" | "signin"} */ (problem.kind)] : actions.retry;
  main.querySelector(".loading")?.remove();
  const shut = ["missing", "key", "signin"].includes(problem.kind); // nothing to show, or nothing that may be shown
  if (shut) view?.element.setAttribute("hidden", "");
  const states = { key: "Not authorised", signin: "Not authorised", storage: "Storage is away", offline: "Offline" };
  if (problem.kind in states) fill(health, h("span", { class: "state failed" }, states[/** @type {keyof states} */ (problem.kind)]));
  const stale = loaded && !shut;
  fill(
    trouble,
    h("div", {}, h("h2", {}, titles[problem.kind]), h("p", {}, problem.message, stale && ` What is shown is from ${moment(refresh.updated).slice(11)} UTC; it is asked for again by itself.`)),
    action(),
  );
  trouble.classList.toggle("whole", !stale);
  trouble.hidden = false;
}

/** @param {boolean} refused whether the key at hand was not taken */
function askForKey(refused) {
  if (document.querySelector("dialog.key")) return;
  const input = /** @type {HTMLInputElement} */ (
    h("input", { type: "password", id: "key", name: "key", autocomplete: "off", required: true, spellcheck: "false", "aria-describedby": "key-help" })
  );
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: "key", "aria-labelledby": "key-title" },
      h(
        "form",
        { method: "dialog", on: { submit: () => use(input.value.trim()) } },
        h("header", {}, h("h2", { id: "key-title" }, "Function key")),
        h("p", { id: "key-help", class: refused ? "failed-text" : "" }, refused ? "This key was refused. Enter another one." : "This app's data need a key: Functions › App keys in the Azure portal, or the functions' own."),
        h("label", { for: "key" }, "Key"),
        input,
        h("p", { class: "note" }, "It is kept in this tab only, until the tab is closed, and sent as a header."),
        h(
          "div",
          { class: "dialog-actions" },
          h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, "Cancel"),
          h("button", { type: "submit", class: "button primary" }, "Use this key"),
        ),
      ),
    )
  );
  const use = (/** @type {string} */ text) => {
    if (!text) return;
    key.set(text);
    trouble.hidden = true;
    void refresh.now();
  };
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function forgetKey() {
  key.forget();
  location.reload();
}
