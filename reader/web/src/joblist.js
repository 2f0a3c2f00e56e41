/** `JobList`: the jobs, filtered by the server, searched and sorted here. */

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { ago, count, decimal, duration, milliseconds, moment, plural } from "./format.js";
import { Grid, NARROW } from "./grid.js";
import { bar } from "./jobview.js";
import { debounced, named } from "./tasktable.js";

const MOST = 10_000; // what the API gives in one answer
const RANGES = /** @type {[string, string][]} */ ([["", "Any time"], ["1", "Last 24 hours"], ["7", "Last 7 days"], ["30", "Last 30 days"], ["90", "Last 90 days"], ["days", "From … to …"]]);
const TEXTS = new Set(["jobId", "account"]);

/** @typedef {{q: string, account: string, failed: string, range: string, from: string, to: string, sort: string}} Wanted */

export class JobList {
  /** @param {{address: () => string, changed: () => void}} options `changed`: what the server is asked for */
  constructor({ address, changed }) {
    this.changed = changed;
    this.wanted = parse(address());
    /** @type {any[]} */
    this.all = [];
    /** @type {any[]} */
    this.jobs = [];
    this.total = 0;
    /** @type {Set<string>} */
    this.accounts = new Set(this.wanted.account ? [this.wanted.account] : []);
    const job = (/** @type {number} */ index) => this.jobs[index];
    const wide = () => (this.grid.width ?? 0) >= NARROW;
    const number = (/** @type {string} */ key, /** @type {string} */ label, /** @type {string} */ width, /** @type {number} */ from, /** @type {(value: any) => string} */ text) => ({
      key, label, width, from, end: true, sortable: true, cell: (/** @type {number} */ index) => text(job(index)[key]),
    });
    this.grid = new Grid({
      label: "Jobs",
      columns: [
        { key: "jobId", label: "Job", width: "minmax(10rem, 2.6fr)", narrow: "minmax(6rem, 1.5fr)", sortable: true, class: "id", cell: (index) => title(job(index), !wide()) },
        { key: "account", label: "Account", width: "minmax(7.4rem, 1.9fr)", from: NARROW, sortable: true, cell: (index) => named(job(index).account ?? "") },
        number("taskCount", "Tasks", "4.6rem", NARROW, count),
        { key: "failedTasks", label: "Outcome", width: "minmax(8rem, 1.6fr)", narrow: "minmax(5.6rem, 1fr)", sortable: true, hint: "Succeeded and failed tasks; sorts by failed", cell: (index) => outcome(job(index), wide()) },
        number("retryCount", "Retries", "4.4rem", 1000, count),
        number("p50DurationSeconds", "p50", "4.4rem", 860, duration),
        number("p95DurationSeconds", "p95", "4.4rem", 860, duration),
        number("maxDurationSeconds", "Max", "4.4rem", 1000, duration),
        number("spanSeconds", "Span", "4.6rem", 1180, duration),
        number("meanConcurrency", "Parallel", "4.6rem", 1260, decimal),
        number("slotSeconds", "Slot-hours", "5.4rem", 1180, (value) => decimal((value ?? 0) / 3600)),
        { key: "lastEndTime", label: "Ended", width: "5.4rem", narrow: "4.2rem", end: true, sortable: true, hint: "When the last task so far ended", cell: (index) => when(job(index)) },
      ],
      key: (index) => `${job(index).PartitionKey}/${job(index).RowKey}`,
      open: (index) => (location.hash = jobHash(job(index))),
      sort: (key) => this.sortBy(key),
      rowHeight: (width) => (width < NARROW ? 58 : 42),
    });
    this.tiles = h("div", { class: "tiles few" });
    this.found = h("p", { class: "found", role: "status" });
    this.form = h("form", { class: "filters", role: "search", "aria-label": "Filter jobs", on: { submit: (/** @type {Event} */ event) => event.preventDefault() } });
    this.empty = h("div", { hidden: true });
    this.list = h("section", { class: "card joblist", "aria-label": "Jobs" }, this.form, this.found, this.grid.element);
    this.element = h("div", {}, h("h1", { class: "hidden-title" }, "Jobs"), this.tiles, this.list, this.empty);
    this.drawForm();
  }

  dispose() {}

  /** Asks the server. @param {AbortSignal} signal */
  async load(signal) {
    const { wanted } = this;
    const day = (/** @type {string} */ text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? text : "");
    const days = Number(wanted.range);
    const last = wanted.range === "days" && day(wanted.to) ? new Date(Date.parse(wanted.to) + 864e5).toISOString() : "";
    const answer = await get(
      "jobs",
      {
        limit: MOST,
        account: wanted.account,
        failed: wanted.failed,
        since: wanted.range === "days" ? day(wanted.from) : days ? new Date(Math.floor(Date.now() / 6e4) * 6e4 - days * 864e5).toISOString() : "",
        until: last,
      },
      signal,
    );
    this.all = answer.jobs;
    this.total = answer.total;
    const before = this.accounts.size;
    for (const job of this.all) this.accounts.add(job.PartitionKey);
    if (this.accounts.size !== before && !this.form.contains(document.activeElement)) this.drawForm();
    this.draw();
  }

  drawForm() {
    const { wanted } = this;
    const select = (/** @type {string} */ label, /** @type {"account" | "failed" | "range"} */ name, /** @type {[string, string][]} */ options) =>
      h(
        "select",
        { "aria-label": label, on: { change: (/** @type {any} */ event) => this.ask({ [name]: event.target.value }) } },
        options.map(([value, text]) => h("option", { value, selected: wanted[name] === value }, text)),
      );
    const date = (/** @type {string} */ label, /** @type {"from" | "to"} */ name) =>
      h("input", { type: "date", "aria-label": label, value: wanted[name], on: { change: (/** @type {any} */ event) => this.ask({ [name]: event.target.value }) } });
    fill(
      this.form,
      h("input", {
        type: "search", class: "search", placeholder: "Search jobs  ( / )", "aria-label": "Search jobs by id or account",
        "data-search": true, autocomplete: "off", spellcheck: "false", value: wanted.q,
        on: { input: debounced((/** @type {string} */ q) => this.search(q)) },
      }),
      select("Account", "account", [["", "Any account"], ...[...this.accounts].sort().map((name) => /** @type {[string, string]} */ ([name, name]))]),
      select("Outcome", "failed", [["", "Any outcome"], ["true", "With failed tasks"], ["false", "Without failed tasks"]]),
      select("When the last task ended", "range", RANGES),
      wanted.range === "days" && [date("From", "from"), date("To, with that day", "to")],
      h("button", { type: "button", class: "button quiet", on: { click: () => this.clear() } }, "Clear"),
    );
  }

  clear() {
    this.ask({ q: "", account: "", failed: "", range: "", from: "", to: "" });
    this.drawForm();
    /** @type {HTMLElement | null} */ (this.form.querySelector("input"))?.focus();
  }

  /** @param {Partial<Wanted>} change */
  ask(change) {
    this.wanted = { ...this.wanted, ...change };
    this.remember();
    if ("range" in change) {
      this.drawForm();
      /** @type {HTMLElement | null} */ (this.form.querySelector('[aria-label="When the last task ended"]'))?.focus();
    }
    this.changed();
  }

  /** @param {string} q */
  search(q) {
    this.wanted = { ...this.wanted, q };
    this.remember();
    this.draw(true);
  }

  /** @param {string} key */
  sortBy(key) {
    const { sort } = this.wanted;
    const natural = TEXTS.has(key) ? key : `-${key}`;
    this.wanted = { ...this.wanted, sort: sort === natural ? (sort.startsWith("-") ? key : `-${key}`) : natural };
    this.remember();
    this.draw(true);
  }

  /** Keeps what is asked for in the address, so that it can be shared and is there again. */
  remember() {
    history.replaceState(null, "", listHash(this.wanted));
  }

  /** @param {boolean} [top] */
  draw(top = false) {
    const { wanted } = this;
    const words = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.all.filter((job) => {
      const text = `${job.jobId}\n${job.account}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const key = wanted.sort.replace(/^-/, "");
    const descending = wanted.sort.startsWith("-");
    this.jobs = sorted(matching, key, descending);
    const narrowed = listHash(this.wanted) !== listHash({ ...parse(""), sort: wanted.sort });
    const nothing = !this.all.length && !narrowed;
    this.list.hidden = this.tiles.hidden = nothing;
    this.empty.hidden = !nothing;
    if (nothing) fill(this.empty, noData());
    const more = this.total > this.all.length ? `; these are the ${count(this.all.length)} that ended last of ${count(this.total)}` : "";
    fill(this.found, plural(this.jobs.length, narrowed ? "matching job" : "job"), more);
    this.drawTiles();
    this.grid.update(this.jobs.length, { sorted: { key, descending }, empty: "No job matches these filters.", top });
  }

  drawTiles() {
    const sum = (/** @type {string} */ column) => this.jobs.reduce((total, job) => total + (job[column] ?? 0), 0);
    const [tasks, failed] = [sum("taskCount"), sum("failedTasks")];
    const withFailed = this.jobs.filter((job) => job.failedTasks).length;
    const tile = (/** @type {string} */ name, /** @type {string} */ value, /** @type {import("./dom.js").Child} */ more, state = "") =>
      h("div", { class: `tile ${state}` }, h("div", { class: "tile-name" }, name), h("div", { class: "tile-value" }, value), h("div", { class: "tile-more" }, more));
    fill(
      this.tiles,
      tile("Jobs", count(this.jobs.length), withFailed ? `${count(withFailed)} with failed tasks` : "none with failed tasks"),
      tile("Tasks", count(tasks), bar(tasks - failed, failed)),
      tile("Failed tasks", count(failed), tasks ? `${((100 * failed) / tasks).toFixed(1)}% of tasks` : "", failed ? "failed" : ""),
      tile("Slot-hours", decimal(sum("slotSeconds") / 3600), `${count(sum("completionCount"))} executions`),
    );
  }
}

/** @param {any[]} jobs @param {string} key @param {boolean} descending */
function sorted(jobs, key, descending) {
  const collator = new Intl.Collator("en", { numeric: true });
  const sign = descending ? -1 : 1;
  const compare = (/** @type {any} */ a, /** @type {any} */ b) => {
    const [one, other] = [a[key], b[key]];
    if (one === undefined || other === undefined) return Number(one === undefined) - Number(other === undefined);
    return sign * (TEXTS.has(key) ? collator.compare(one, other) : one < other ? -1 : one > other ? 1 : 0);
  };
  return jobs.sort((a, b) => compare(a, b) || collator.compare(a.jobId, b.jobId));
}

/** @param {any} job */
function jobHash(job) {
  return `#/job/${encodeURIComponent(job.account ?? job.PartitionKey)}/${encodeURIComponent(job.jobId ?? job.RowKey)}`;
}

/** @param {any} job @param {boolean} account whether it has no column of its own */
function title(job, account) {
  const link = h("a", { class: "cut", href: jobHash(job), tabindex: -1, title: job.jobId }, job.jobId ?? job.RowKey);
  return account ? h("span", { class: "two" }, link, h("span", { class: "note cut" }, job.account)) : link;
}

/** @param {any} job @param {boolean} wide */
function outcome(job, wide) {
  const [succeeded, failed] = [job.succeededTasks ?? 0, job.failedTasks ?? 0];
  const words = wide ? (failed ? count(failed) : "") : failed ? `${count(failed)} failed` : plural(job.taskCount ?? 0, "task");
  return h("span", { class: wide ? "outcome" : "two" }, bar(succeeded, failed), h("span", { class: failed ? "failed-text" : "note" }, words));
}

/** @param {any} job */
function when(job) {
  const time = milliseconds(job.lastEndTime);
  return h("span", { title: `last task ended ${moment(time)} UTC; counted ${moment(milliseconds(job.Timestamp))} UTC` }, ago(time, Date.now()).replace(" ago", ""));
}

/** Of an address such as `#/?account=a&sort=-taskCount`. @param {string} hash @returns {Wanted} */
function parse(hash) {
  const given = new URLSearchParams(hash.split("?")[1] ?? "");
  const text = (/** @type {string} */ name) => given.get(name) ?? "";
  return { q: text("q"), account: text("account"), failed: text("failed"), range: text("range"), from: text("from"), to: text("to"), sort: text("sort") || "-lastEndTime" };
}

/** @param {Wanted} wanted */
function listHash(wanted) {
  const given = new URLSearchParams(Object.entries(wanted).filter(([name, value]) => value && !(name === "sort" && value === "-lastEndTime")));
  return given.size ? `#/?${given}` : "#/";
}

/** What to do where nothing has been counted yet. */
function noData() {
  const line = (/** @type {string} */ text) => h("pre", {}, h("code", {}, text));
  return h(
    "section",
    { class: "card state-page" },
    h("h2", {}, "No jobs yet"),
    h("p", {}, "The tables can be read, and nothing has been counted so far. Jobs appear here as soon as their first task ends."),
    h(
      "ul",
      {},
      h("li", {}, h("b", {}, "On your machine: "), "with ", h("code", {}, "make start"), " running, publish a generated log:", line("make publish")),
      h("li", {}, h("b", {}, "In Azure: "), "send the Batch account's ", h("code", {}, "ServiceLog"), " to the app's Event Hub, by a diagnostic setting of the account."),
      h("li", {}, h("b", {}, "From an archive: "), "count what was logged before:", line("rollups replay SOURCE")),
    ),
  );
}
