/**
 * `JobView`: one job, as the report and the dashboard show it: tiles, charts, failures, timeline, nodes, stragglers and
 * tasks. It is given the job, then its nodes and tasks, in any order and as often as they change.
 */

import { durationChart, progressChart } from "./charts.js";
import { fill, h } from "./dom.js";
import { ago, count, decimal, duration, milliseconds, minute, moment, percent, plural } from "./format.js";
import { Grid } from "./grid.js";
import { failingNodes, STRAGGLER } from "./outliers.js";
import { stragglersOf } from "./tasks.js";
import { named, showTask, TaskTable } from "./tasktable.js";
import { Timeline } from "./timeline.js";

const LISTED = 8;

export class JobView {
  /** @param {{source: import("./tasktable.js").Source, open?: (row: any) => void}} options */
  constructor({ source, open = showTask }) {
    this.open = open;
    this.nodes = /** @type {any[]} */ ([]);
    this.job = /** @type {any} */ (null);
    this.tasks = /** @type {import("./tasks.js").Tasks | null} */ (null);
    this.tiles = h("div", { class: "tiles" });
    this.progress = progressChart("Executions that ended, over time");
    this.durations = durationChart("Executions by duration");
    this.failures = h("div", {});
    this.exitCodes = h("div", {});
    this.pools = h("div", {});
    this.timeline = new Timeline({ open: (index) => this.tasks && open(this.tasks.row(index)) });
    this.timelineNote = h("p", { class: "note" });
    this.stragglers = h("div", {});
    this.nodeNote = h("p", { class: "note" });
    this.nodeSort = { key: "failed", descending: true };
    this.table = new TaskTable({ source, open });
    this.nodeGrid = this.makeNodeGrid();
    this.element = h(
      "div",
      { class: "job" },
      this.tiles,
      h(
        "div",
        { class: "pair" },
        card("Progress", h("p", { class: "note" }, "Executions by end time, and their running sum"), this.progress.element),
        card("Durations", h("p", { class: "note" }, "Executions by duration, in powers of two"), this.durations.element),
      ),
      h("div", { class: "triple" }, card("Failures", this.failures), card("Exit codes", this.exitCodes), card("Pools", this.pools)),
      card("Timeline", this.timelineNote, this.timeline.element),
      h("div", { class: "pair wide-first" }, card("Nodes", this.nodeNote, this.nodeGrid.element), card("Stragglers", this.stragglers)),
      card("Tasks", this.table.element),
    );
    this.tasksCard = /** @type {HTMLElement} */ (this.element.lastElementChild);
  }

  dispose() {
    this.progress.dispose();
    this.durations.dispose();
    this.timeline.dispose();
  }

  makeNodeGrid() {
    const node = (/** @type {number} */ index) => this.nodes[index];
    return new Grid({
      label: "Nodes",
      columns: [
        { key: "nodeId", label: "Node", width: "minmax(7rem, 2fr)", narrow: "minmax(5.5rem, 2fr)", class: "id", sortable: true, cell: (index) => named(node(index).nodeId) },
        { key: "poolId", label: "Pool", width: "minmax(5rem, 1fr)", from: 520, sortable: true, cell: (index) => named(node(index).poolId) },
        { key: "tasks", label: "Tasks", width: "4.5rem", narrow: "3rem", end: true, sortable: true, cell: (index) => count(node(index).tasks) },
        { key: "failed", label: "Failed", width: "10rem", narrow: "9rem", end: true, sortable: true, cell: (index) => failedShare(node(index)) },
        { key: "retries", label: "Retries", width: "4.5rem", from: 440, end: true, sortable: true, cell: (index) => count(node(index).retries) },
        { key: "busySeconds", label: "Busy", width: "5.5rem", from: 360, end: true, sortable: true, cell: (index) => duration(node(index).busySeconds) },
      ],
      key: (index) => JSON.stringify([node(index).poolId, node(index).nodeId]),
      open: (index) => this.narrow({ node: node(index).nodeId }),
      rowClass: (index) => (node(index).suspect ? "suspect" : ""),
      sort: (key) => {
        this.nodeSort = { key, descending: this.nodeSort.key === key ? !this.nodeSort.descending : !key.endsWith("Id") };
        this.drawNodes();
      },
    });
  }

  /** Narrows the task table down, and goes there. @param {Partial<import("./tasktable.js").Filter>} filter */
  narrow(filter) {
    this.table.narrow(filter);
    this.tasksCard.scrollIntoView({ block: "start" });
    /** @type {HTMLElement | null} */ (this.table.form.querySelector("input"))?.focus({ preventScroll: true });
  }

  /** @param {any} job a row of JobRollups */
  showJob(job) {
    this.job = job;
    this.drawTiles();
    if (job.completionsOverTime) this.progress.show(job.completionsOverTime);
    if (Object.keys(job.durationHistogram ?? {}).length) this.durations.show(job.durationHistogram);
    this.drawFailures();
    this.table.offer(job, this.nodes);
  }

  drawTiles() {
    const { job } = this;
    const failed = job.failedTasks ?? 0;
    fill(
      this.tiles,
      tile("Tasks", count(job.taskCount), bar(job.succeededTasks ?? 0, failed)),
      tile("Failed", count(failed), failed ? `${percent(failed, job.taskCount)} of tasks` : "none", failed ? "failed" : ""),
      tile("Retries", count(job.retryCount), `${count(job.requeueCount ?? 0)} requeues · ${count(job.retriesExhausted ?? 0)} exhausted`),
      tile("Median", duration(job.p50DurationSeconds), `mean ${duration(job.meanDurationSeconds)}`),
      tile("p95", duration(job.p95DurationSeconds), `p99 ${duration(job.p99DurationSeconds)}`),
      tile("Longest", duration(job.maxDurationSeconds), job.longestTaskId && named(job.longestTaskId)),
      tile("Span", duration(job.spanSeconds), period(job)),
      tile("Concurrency", decimal(job.meanConcurrency), "tasks at a time, on average"),
      tile("Slot-hours", decimal((job.slotSeconds ?? 0) / 3600), `${count(job.completionCount)} executions`),
    );
  }

  drawFailures() {
    const { job } = this;
    const ranked = (/** @type {Record<string, number>} */ map) => Object.entries(map ?? {}).sort(([, a], [, b]) => b - a);
    const sum = (/** @type {[string, number][]} */ entries) => entries.reduce((total, [, number]) => total + number, 0);
    const failures = ranked(job.failures);
    fill(
      this.failures,
      failures.length
        ? bars(failures, sum(failures), "failed", (code) => code !== "other" && (() => this.narrow({ failureCode: code, outcome: "failed" })))
        : h("p", { class: "none" }, "No execution failed."),
    );
    const codes = ranked(job.exitCodes);
    fill(
      this.exitCodes,
      codes.length
        ? bars(codes, sum(codes), (code) => (code === "0" ? "ok" : code === "none" || code === "other" ? "plain" : "failed"), (code) => /^-?\d+$/.test(code) && (() => this.narrow({ exitCode: code })))
        : h("p", { class: "none" }, "No exit code is known."),
    );
    const pools = Object.entries(job.pools ?? {}).sort(([, a], [, b]) => b.completions - a.completions);
    fill(this.pools, pools.length ? this.poolList(pools) : h("p", { class: "none" }, "No execution had a pool."));
  }

  /** @param {[string, any][]} pools */
  poolList(pools) {
    return h(
      "ul",
      { class: "bars" },
      pools.slice(0, LISTED).map(([pool, share]) =>
        h(
          "li",
          {},
          choice(pool || "never ran", pool !== "" && pool !== "other" && (() => this.narrow({ pool }))),
          h("span", { class: "value" }, `${count(share.completions)} · ${share.failed ? `${percent(share.failed, share.completions)} failed` : "none failed"}`),
          bar(share.completions - share.failed, share.failed),
        ),
      ),
      pools.length > LISTED && h("li", { class: "more" }, `and ${plural(pools.length - LISTED, "more pool")}`),
    );
  }

  /** @param {any[]} nodes as /api/jobs/{account}/{job}/nodes has them */
  showNodes(nodes) {
    const tasks = nodes.reduce((sum, node) => sum + node.tasks, 0);
    const failed = nodes.reduce((sum, node) => sum + node.failed, 0);
    const failing = failingNodes(nodes);
    for (const node of nodes) node.suspect = failing.has(node);
    this.timeline.mark(nodes.filter((node) => node.suspect));
    this.nodes = nodes;
    const suspects = failing.size;
    fill(
      this.nodeNote,
      plural(nodes.length, "node"),
      suspects > 0 && [" · ", h("b", { class: "failed-text" }, `${plural(suspects, "node")} ${suspects === 1 ? "fails" : "fail"} more than the rest`)],
      failed > 0 && ` · ${percent(failed, tasks)} of tasks failed overall`,
    );
    this.drawNodes();
    if (this.job) this.table.offer(this.job, nodes);
  }

  drawNodes() {
    const { key, descending } = this.nodeSort;
    const collator = new Intl.Collator("en", { numeric: true });
    const value = (/** @type {any} */ node) => (key === "failed" ? node.failed / node.tasks : node[key]);
    const compare = key.endsWith("Id") ? (/** @type {any} */ a, /** @type {any} */ b) => collator.compare(a[key], b[key]) : (/** @type {any} */ a, /** @type {any} */ b) => value(a) - value(b);
    this.nodes = [...this.nodes].sort((a, b) => (key === "failed" ? Number(b.suspect) - Number(a.suspect) : 0) || (descending ? -1 : 1) * compare(a, b) || collator.compare(a.nodeId, b.nodeId));
    this.nodeGrid.update(this.nodes.length, { sorted: this.nodeSort, empty: "No task ran on a node." });
  }

  /** @param {import("./tasks.js").Tasks} tasks @param {string} [note] where these are not all */
  showTasks(tasks, note = "") {
    this.tasks = tasks;
    fill(this.timelineNote, "By node; each bar is a task's last execution. Drag to move, Ctrl and wheel or double click to zoom.", note && h("b", {}, ` ${note}`));
    this.timeline.show(tasks);
    const found = stragglersOf(tasks, this.job?.p95DurationSeconds);
    fill(
      this.stragglers,
      h("p", { class: "note" }, `Tasks that took more than ${STRAGGLER} × p95 (${duration(this.job?.p95DurationSeconds)})${found.length ? `: ${count(found.length)}` : ""}`),
      found.length
        ? h(
            "ol",
            { class: "ranking" },
            found.slice(0, LISTED).map((index) =>
              h(
                "li",
                {},
                choice(tasks.id[index], () => this.open(tasks.row(index))),
                h("span", { class: "value" }, `${duration(tasks.duration[index])} · ${(tasks.duration[index] / this.job.p95DurationSeconds).toFixed(1)} × p95`),
                h("span", { class: "note cut" }, tasks.node.get(index)),
              ),
            ),
            found.length > LISTED && h("li", { class: "more" }, `and ${count(found.length - LISTED)} more: filter the tasks by “Longer than”`),
          )
        : h("p", { class: "none" }, "None: no task is far beyond the rest."),
    );
  }
}

/** From when to when, the day once where it is one. @param {any} job */
function period(job) {
  const [from, to] = [minute(milliseconds(job.firstStartTime)), minute(milliseconds(job.lastEndTime))];
  return `${from} to ${from.slice(0, 10) === to.slice(0, 10) ? to.slice(11) : to}`;
}

/** Title line of a job. @param {any} job @param {number} now milliseconds since 1970 */
export function heading(job, now) {
  const failed = job.failedTasks ?? 0;
  return h(
    "div",
    { class: "heading" },
    h("h1", { class: "id" }, job.jobId ?? job.RowKey),
    h(
      "p",
      { class: "note" },
      h("span", { class: `state ${failed ? "failed" : "ok"}` }, failed ? `${count(failed)} failed` : "all succeeded"),
      h("span", {}, "Batch account ", h("b", {}, job.account ?? job.PartitionKey)),
      h("span", { title: `${moment(milliseconds(job.lastEndTime))} UTC` }, `last task ended ${ago(milliseconds(job.lastEndTime), now)}`),
      h("span", { title: `${moment(milliseconds(job.Timestamp))} UTC` }, `counted ${ago(milliseconds(job.Timestamp), now)}`),
    ),
  );
}

/** @param {string} title @param {...import("./dom.js").Child} children */
function card(title, ...children) {
  const id = `section-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title), ...children);
}

/** @param {string} name @param {string} value @param {import("./dom.js").Child} more @param {string} [state] */
function tile(name, value, more, state = "") {
  return h("div", { class: `tile ${state}` }, h("div", { class: "tile-name" }, name), h("div", { class: "tile-value" }, value), h("div", { class: "tile-more" }, more));
}

/** Succeeded and failed, as shares of a bar. @param {number} succeeded @param {number} failed */
export function bar(succeeded, failed) {
  const part = (/** @type {string} */ state, /** @type {number} */ number) => number > 0 && h("i", { class: state, style: { "flex-grow": String(number) } });
  const label = `${count(succeeded)} succeeded, ${count(failed)} failed`;
  return h("span", { class: "bar", role: "img", "aria-label": label, title: label }, part("ok", succeeded), part("failed", failed));
}

/** @param {string} text @param {(() => void) | false} action */
function choice(text, action) {
  return action ? h("button", { type: "button", class: "name link", title: text, on: { click: action } }, text) : h("span", { class: "name" }, text);
}

/**
 * @param {[string, number][]} entries
 * @param {number} total
 * @param {string | ((name: string) => string)} state
 * @param {(name: string) => (() => void) | false} action
 */
function bars(entries, total, state, action) {
  const greatest = entries[0][1];
  return h(
    "ul",
    { class: "bars" },
    entries.slice(0, LISTED).map(([name, number]) =>
      h(
        "li",
        {},
        choice(name, action(name)),
        h("span", { class: "value" }, `${count(number)} · ${percent(number, total)}`),
        h("span", { class: "bar" }, h("i", { class: typeof state === "string" ? state : state(name), style: { "flex-basis": `${(100 * number) / greatest}%` } })),
      ),
    ),
    entries.length > LISTED && h("li", { class: "more" }, `and ${count(entries.length - LISTED)} more`),
  );
}

/** @param {any} node */
function failedShare(node) {
  return h("span", {}, node.suspect && h("span", { class: "badge" }, "high"), node.failed ? `${count(node.failed)} (${percent(node.failed, node.tasks)})` : "0");
}
