/**
 * `TaskTable`: a job's tasks with filters, from memory (`MemoryTasks`, the report) or by pages from the API
 * (`PagedTasks`, the dashboard). A source applies the filters and says how many rows there are so far.
 */

import { fill, h, icon, ICONS } from "./dom.js";
import { count, duration, milliseconds, minute, moment, plural } from "./format.js";
import { Grid } from "./grid.js";
import { FAILED, SUCCEEDED } from "./tasks.js";

/**
 * @typedef {object} Filter
 * @property {string} text
 * @property {string} outcome "", "failed", "succeeded", "retried" or "requeued"
 * @property {string} pool
 * @property {string} node
 * @property {string} exitCode
 * @property {string} failureCode
 * @property {number | null} minDuration seconds
 */

/** @type {Filter} */
const NO_FILTER = { text: "", outcome: "", pool: "", node: "", exitCode: "", failureCode: "", minDuration: null };

/** Failure codes that the sums have and no row's column: what no scheduling error explains. */
const DERIVED = new Set(["FailureExitCode", "Unknown", "other"]);

/**
 * @typedef {object} Source
 * @property {number} count rows so far
 * @property {boolean} complete whether these are all
 * @property {boolean} sortable
 * @property {string} searchLabel
 * @property {(index: number) => any} row with the columns' names
 * @property {(filter: Filter, sort: {key: string, descending: boolean} | null, changed: () => void) => void} apply
 * @property {() => void} more
 * @property {string | null} [problem] why there are no more
 */

export class TaskTable {
  /** @param {{source: Source, open: (row: any) => void}} options */
  constructor({ source, open }) {
    this.source = source;
    /** @type {Filter} */
    this.filter = { ...NO_FILTER };
    /** @type {{key: string, descending: boolean} | null} */
    this.sort = null;
    this.last = { index: -1, row: /** @type {any} */ (null) };
    const row = (/** @type {number} */ index) => {
      if (this.last.index !== index) this.last = { index, row: source.row(index) }; // each cell of a row asks for it
      return this.last.row;
    };
    this.grid = new Grid({
      label: "Tasks",
      columns: [
        { key: "taskId", label: "Task", width: "minmax(8rem, 3fr)", narrow: "minmax(6rem, 2fr)", sortable: source.sortable, class: "id", cell: (index) => named(row(index).taskId) },
        { key: "succeeded", label: "Outcome", width: "minmax(6.5rem, 1.6fr)", narrow: "6.1rem", sortable: source.sortable, cell: (index) => outcome(row(index)) },
        { key: "exitCode", label: "Exit code", width: "5.5rem", from: 620, end: true, sortable: source.sortable, cell: (index) => row(index).exitCode ?? "–" },
        { key: "durationSeconds", label: "Duration", width: "5.5rem", narrow: "4.2rem", end: true, sortable: source.sortable, cell: (index) => duration(row(index).durationSeconds) },
        { key: "retryCount", label: "Retries", width: "4.5rem", from: 760, end: true, sortable: source.sortable, cell: (index) => count(row(index).retryCount) },
        { key: "startTime", label: "Start (UTC)", width: "9.5rem", from: 900, sortable: source.sortable, cell: (index) => moment(milliseconds(row(index).startTime)) },
        { key: "endTime", label: "End (UTC)", width: "9.5rem", from: 1060, sortable: source.sortable, cell: (index) => moment(milliseconds(row(index).endTime)) },
        { key: "poolId", label: "Pool", width: "minmax(5rem, 1.2fr)", from: 1060, sortable: source.sortable, cell: (index) => named(row(index).poolId) },
        { key: "nodeId", label: "Node", width: "minmax(6rem, 1.8fr)", from: 620, sortable: source.sortable, class: "id", cell: (index) => named(row(index).nodeId) },
      ],
      key: (index) => row(index).taskId,
      open: (index) => open(row(index)),
      rowClass: (index) => (row(index).succeeded === false ? "failed" : ""),
      sort: (key) => this.sortBy(key),
      nearEnd: () => !source.complete && source.more(),
    });
    this.found = h("p", { class: "found", role: "status" });
    this.form = h("form", { class: "filters", role: "search", "aria-label": "Filter tasks", on: { submit: (/** @type {Event} */ event) => event.preventDefault() } });
    this.element = h("div", { class: "tasktable" }, this.form, this.found, this.grid.element);
    /** @type {{pools: string[], exitCodes: string[], failureCodes: string[], nodes: string[]}} */
    this.choices = { pools: [], exitCodes: [], failureCodes: [], nodes: [] };
  }

  /** What the filters offer, of a job and its nodes. @param {any} job @param {any[]} nodes */
  offer(job, nodes) {
    const own = (/** @type {string} */ code) => this.source.sortable ? code !== "other" : !DERIVED.has(code);
    const choices = {
      pools: Object.keys(job.pools ?? {}).filter((pool) => pool && pool !== "other"),
      exitCodes: Object.keys(job.exitCodes ?? {}).filter((code) => /^-?\d+$/.test(code)).sort((a, b) => Number(a) - Number(b)),
      failureCodes: Object.keys(job.failures ?? {}).filter(own),
      nodes: nodes.map((node) => node.nodeId),
    };
    if (JSON.stringify(choices) === JSON.stringify(this.choices) && this.form.firstChild) return;
    this.choices = choices;
    if (!this.form.contains(document.activeElement)) this.drawForm();
  }

  drawForm() {
    const { filter, choices } = this;
    const search = h("input", {
      type: "search",
      class: "search",
      placeholder: this.source.searchLabel,
      "aria-label": this.source.searchLabel,
      "data-search": true,
      autocomplete: "off",
      spellcheck: "false",
      value: filter.text,
      on: { input: debounced((/** @type {string} */ text) => this.set({ text })) },
    });
    const select = (/** @type {string} */ label, /** @type {"outcome" | "pool" | "exitCode" | "failureCode"} */ name, /** @type {[string, string][]} */ options) =>
      options.length > 0 &&
      h(
        "select",
        { "aria-label": label, on: { change: (/** @type {any} */ event) => this.set({ [name]: event.target.value }) } },
        [["", label], ...options].map(([value, text]) => h("option", { value, selected: filter[name] === value }, text)),
      );
    const same = (/** @type {string[]} */ values, prefix = "") => values.map((value) => /** @type {[string, string]} */ ([value, prefix + value]));
    fill(
      this.form,
      search,
      select("Any outcome", "outcome", [["failed", "Failed"], ["succeeded", "Succeeded"], ["retried", "Retried"], ["requeued", "Requeued"]]),
      select("Any pool", "pool", same(choices.pools)),
      select("Any exit code", "exitCode", same(choices.exitCodes, "Exit code ")),
      select("Any failure", "failureCode", same(choices.failureCodes)),
      h("input", {
        list: "node-choices",
        placeholder: "Any node",
        "aria-label": "Node",
        value: filter.node,
        autocomplete: "off",
        spellcheck: "false",
        on: { input: debounced((/** @type {string} */ node) => this.set({ node })) },
      }),
      h("datalist", { id: "node-choices" }, choices.nodes.slice(0, 500).map((node) => h("option", { value: node }))),
      h("input", {
        class: "least",
        placeholder: "Longer than, e.g. 10m",
        "aria-label": "Longer than, for example 90s, 10m or 2h",
        value: filter.minDuration ?? "",
        autocomplete: "off",
        on: { input: debounced((/** @type {string} */ text, /** @type {HTMLInputElement} */ input) => this.least(text, input)) },
      }),
      h("button", { type: "button", class: "button quiet", on: { click: () => this.clear() } }, "Clear"),
    );
  }

  /** @param {string} text @param {HTMLInputElement} input */
  least(text, input) {
    const parts = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*$/.exec(text);
    const valid = !text.trim() || parts !== null;
    input.setAttribute("aria-invalid", String(!valid));
    input.title = valid ? "" : "A number with ms, s, m, h or d";
    const sizes = /** @type {Record<string, number>} */ ({ ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 });
    if (valid) this.set({ minDuration: parts ? Number(parts[1]) * sizes[parts[2] ?? "s"] : null });
  }

  /** Narrows the table down, from elsewhere on the page. @param {Partial<Filter>} change */
  narrow(change) {
    const derived = change.failureCode !== undefined && !this.choices.failureCodes.includes(change.failureCode);
    this.filter = { ...NO_FILTER, ...change, ...(derived ? { failureCode: "", outcome: "failed" } : {}) };
    this.drawForm();
    this.apply(true);
  }

  clear() {
    this.narrow({});
    /** @type {HTMLElement | null} */ (this.form.querySelector("input"))?.focus();
  }

  /** @param {Partial<Filter>} change */
  set(change) {
    this.filter = { ...this.filter, ...change };
    this.apply(true);
  }

  /** @param {string} key */
  sortBy(key) {
    const numbers = ["durationSeconds", "retryCount", "exitCode", "endTime", "startTime"].includes(key);
    const descending = this.sort?.key === key ? !this.sort.descending : numbers;
    this.sort = { key, descending };
    this.apply(true);
  }

  /** @param {boolean} [top] */
  apply(top = false) {
    this.source.apply(this.filter, this.sort, () => this.draw());
    this.draw(top);
  }

  /** @param {boolean} [top] */
  draw(top = false) {
    const { source } = this;
    this.last = { index: -1, row: null };
    const filtered = JSON.stringify(this.filter) !== JSON.stringify(NO_FILTER);
    const some = source.complete ? plural(source.count, filtered ? "matching task" : "task") : `${count(source.count)} ${filtered ? "matching tasks" : "tasks"} so far, more as you scroll`;
    fill(this.found, source.problem ? `${some}. ${source.problem}` : some);
    const empty = source.problem ?? (source.complete ? (filtered ? "No task matches these filters." : "This job has no tasks.") : "Loading …");
    this.grid.update(source.count, { sorted: this.sort, empty, top });
  }
}

/** Tasks that are all here. @implements {Source} */
export class MemoryTasks {
  /** @param {import("./tasks.js").Tasks} tasks */
  constructor(tasks) {
    this.tasks = tasks;
    this.complete = true;
    this.sortable = true;
    this.searchLabel = "Search task, node, pool or failure";
    this.order = tasks.byId();
  }

  get count() {
    return this.order.length;
  }

  /** @param {number} index */
  row(index) {
    return this.tasks.row(this.order[index]);
  }

  more() {}

  /** @param {Filter} filter @param {{key: string, descending: boolean} | null} sort */
  apply(filter, sort) {
    const { tasks } = this;
    const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (/** @type {number} */ index) =>
      (!filter.outcome ||
        (filter.outcome === "failed" && tasks.outcome[index] === FAILED) ||
        (filter.outcome === "succeeded" && tasks.outcome[index] === SUCCEEDED) ||
        (filter.outcome === "retried" && tasks.retries[index] > 0) ||
        (filter.outcome === "requeued" && tasks.requeues[index] > 0)) &&
      (!filter.pool || tasks.pool.get(index) === filter.pool) &&
      (!filter.node || tasks.node.get(index).includes(filter.node)) &&
      (!filter.exitCode || tasks.exit[index] === Number(filter.exitCode)) &&
      (!filter.failureCode || (tasks.outcome[index] === FAILED && tasks.reason(index) === filter.failureCode)) &&
      (filter.minDuration === null || tasks.duration[index] >= filter.minDuration) &&
      words.every((word) => tasks.text(index).includes(word));
    this.order = this.sorted(sort).filter(wanted);
  }

  /** @param {{key: string, descending: boolean} | null} sort @returns {Uint32Array} */
  sorted(sort) {
    const all = this.tasks.byId();
    if (!sort) return all;
    const name = `${sort.key} ${sort.descending}`;
    if (this.sortedBy !== name) {
      const compare = comparison(this.tasks, sort.key);
      const sign = sort.descending ? -1 : 1;
      const missing = missingOf(this.tasks, sort.key);
      this.sortedTasks = all.slice().sort((a, b) => Number(missing(a)) - Number(missing(b)) || sign * compare(a, b));
      this.sortedBy = name;
    }
    return /** @type {Uint32Array} */ (this.sortedTasks);
  }
}

/** @param {import("./tasks.js").Tasks} tasks @param {string} key @returns {(a: number, b: number) => number} */
function comparison(tasks, key) {
  /** @type {Record<string, {[index: number]: number}>} */
  const numbers = { durationSeconds: tasks.duration, retryCount: tasks.retries, exitCode: tasks.exit, startTime: tasks.start, endTime: tasks.end, succeeded: tasks.outcome };
  if (key in numbers) return (a, b) => numbers[key][a] - numbers[key][b] || 0;
  const collator = new Intl.Collator("en", { numeric: true });
  if (key === "poolId") return (a, b) => collator.compare(tasks.pool.get(a), tasks.pool.get(b));
  if (key === "nodeId") return (a, b) => collator.compare(tasks.node.get(a), tasks.node.get(b));
  const ranks = new Uint32Array(tasks.count);
  tasks.byId().forEach((index, rank) => (ranks[index] = rank));
  return (a, b) => ranks[a] - ranks[b];
}

/** Whether a task has no value to sort by; those come last in either order. @param {import("./tasks.js").Tasks} tasks @param {string} key */
function missingOf(tasks, key) {
  /** @type {Record<string, Float64Array>} */
  const columns = { durationSeconds: tasks.duration, exitCode: tasks.exit, startTime: tasks.start, endTime: tasks.end };
  return (/** @type {number} */ index) => key in columns && Number.isNaN(columns[key][index]);
}

/** @param {(text: string, input: HTMLInputElement) => void} action @returns {(event: any) => void} */
export function debounced(action) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  return (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(event.target.value, event.target), 120);
  };
}

/** A text that may be cut by its cell, whole in its title. @param {string} text */
export function named(text) {
  return h("span", { class: "cut", title: text }, text || "–");
}

/** @param {any} row */
function outcome(row) {
  if (row.succeeded === undefined) return h("span", { class: "state" }, "unknown");
  if (row.succeeded) return h("span", { class: "state ok" }, "succeeded");
  const why = row.failureCode || (row.exitCode ? `exit code ${row.exitCode}` : "");
  return h("span", { class: "state failed cut", title: `failed ${why}` }, row.failureCode || "failed");
}

/** All that is known of a task, in a dialog. @param {any} row */
export function showTask(row) {
  const close = () => dialog.close();
  const line = (/** @type {string} */ name, /** @type {import("./dom.js").Child} */ value) => (value === "" || value === undefined || value === null ? [] : [h("dt", {}, name), h("dd", {}, value)]);
  const time = (/** @type {string | undefined} */ iso) => (iso ? `${moment(milliseconds(iso))} UTC` : undefined);
  const earlier = (row.executions ?? []).map((/** @type {any} */ run) =>
    h("li", {}, run.other ? `${count(run.other)} more` : `${minute(milliseconds(run.endTime))} UTC: ${run.succeeded ? "succeeded" : "failed"}${run.exitCode === undefined || run.exitCode === null ? "" : `, exit code ${run.exitCode}`}`),
  );
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: "task", "aria-labelledby": "task-title" },
      h("header", {}, h("h2", { id: "task-title" }, row.taskId), h("button", { type: "button", class: "button quiet square", "aria-label": "Close", on: { click: close } }, icon(ICONS.close))),
      h(
        "dl",
        {},
        line("Outcome", outcome(row)),
        line("Exit code", row.exitCode),
        line("Failure", [row.failureCategory, row.failureCode].filter(Boolean).join(": ")),
        line("Message", row.failureMessage),
        line("Pool", row.poolId),
        line("Node", row.nodeId),
        line("Start", time(row.startTime)),
        line("End", time(row.endTime)),
        line("Duration", row.durationSeconds === undefined ? undefined : duration(row.durationSeconds)),
        line("Slots", row.requiredSlots),
        line("Retries", count(row.retryCount ?? 0)),
        line("Requeues", count(row.requeueCount ?? 0)),
        line("Executions", count(row.completionCount ?? 1)),
        line("Earlier", earlier.length ? h("ul", {}, earlier) : undefined),
      ),
    )
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && close());
  document.body.append(dialog);
  dialog.showModal();
}
