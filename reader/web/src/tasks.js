/**
 * `Tasks`: a job's tasks by columns, in typed arrays: a hundred thousand of them cost some megabytes, and drawing,
 * sorting and filtering allocate nothing for a task.
 */

import { milliseconds } from "./format.js";
import { STRAGGLER } from "./outliers.js";

/** @typedef {{dictionary: string[], codes: Uint32Array}} Coded */

/** What became of a task. */
export const UNKNOWN = 0;
export const SUCCEEDED = 1;
export const FAILED = 2;

const collator = new Intl.Collator("en", { numeric: true });

export class Tasks {
  /** @param {number} capacity */
  constructor(capacity) {
    this.count = 0;
    /** @type {string[]} */
    this.id = [];
    this.pool = new Dictionary(capacity);
    this.node = new Dictionary(capacity);
    this.failure = new Dictionary(capacity);
    this.message = new Dictionary(capacity);
    /** Milliseconds since 1970; NaN where unknown. */
    this.start = new Float64Array(capacity);
    this.end = new Float64Array(capacity);
    /** Seconds; NaN where unknown. */
    this.duration = new Float64Array(capacity);
    this.outcome = new Uint8Array(capacity);
    /** NaN where there is none. */
    this.exit = new Float64Array(capacity);
    this.retries = new Uint32Array(capacity);
    this.requeues = new Uint32Array(capacity);
    this.executions = new Uint32Array(capacity);
  }

  /**
   * Tasks from the API's rows.
   * @param {any[]} rows
   */
  static of(rows) {
    const tasks = new Tasks(rows.length);
    for (const row of rows) {
      const index = tasks.count++;
      tasks.id.push(row.taskId ?? row.RowKey ?? "");
      tasks.pool.set(index, row.poolId ?? "");
      tasks.node.set(index, row.nodeId ?? "");
      tasks.failure.set(index, row.failureCode ?? "");
      tasks.message.set(index, row.failureMessage ?? "");
      tasks.start[index] = milliseconds(row.startTime);
      tasks.end[index] = milliseconds(row.endTime);
      tasks.duration[index] = row.durationSeconds ?? NaN;
      tasks.outcome[index] = row.succeeded === undefined || row.succeeded === null ? UNKNOWN : row.succeeded ? SUCCEEDED : FAILED;
      tasks.exit[index] = row.exitCode ?? NaN;
      tasks.retries[index] = row.retryCount ?? 0;
      tasks.requeues[index] = row.requeueCount ?? 0;
      tasks.executions[index] = row.completionCount ?? 1;
    }
    return tasks;
  }

  /** What a failed task failed with: a scheduling error's code, else its exit code. @param {number} index */
  reason(index) {
    const code = this.failure.get(index);
    if (code) return code;
    if (this.outcome[index] !== FAILED) return "";
    return this.exit[index] ? "FailureExitCode" : "Unknown";
  }

  /** One task as an object with the columns' names. @param {number} index */
  row(index) {
    const iso = (/** @type {number} */ time) => (Number.isNaN(time) ? undefined : new Date(time).toISOString());
    const known = (/** @type {number} */ number) => (Number.isNaN(number) ? undefined : number);
    return {
      taskId: this.id[index],
      poolId: this.pool.get(index),
      nodeId: this.node.get(index),
      startTime: iso(this.start[index]),
      endTime: iso(this.end[index]),
      durationSeconds: known(this.duration[index]),
      succeeded: this.outcome[index] === UNKNOWN ? undefined : this.outcome[index] === SUCCEEDED,
      exitCode: known(this.exit[index]),
      failureCode: this.failure.get(index),
      failureMessage: this.message.get(index),
      retryCount: this.retries[index],
      requeueCount: this.requeues[index],
      completionCount: this.executions[index],
    };
  }

  /** Indexes of all tasks, in the order of their ids' numbers (`task-2` before `task-10`). @returns {Uint32Array} */
  byId() {
    this.natural ??= this.order((a, b) => collator.compare(this.id[a], this.id[b]));
    return this.natural;
  }

  /** @param {(a: number, b: number) => number} compare @returns {Uint32Array} */
  order(compare) {
    return Uint32Array.from({ length: this.count }, (_, index) => index).sort(compare);
  }

  /** What the search looks into, in lower case. @param {number} index */
  text(index) {
    this.texts ??= this.id.map((id, at) =>
      [id, this.node.get(at), this.pool.get(at), this.reason(at), this.message.get(at)].join("\n").toLowerCase(),
    );
    return this.texts[index];
  }
}

/** A column of few distinct texts. */
class Dictionary {
  /** @param {number} capacity */
  constructor(capacity) {
    this.codes = new Uint32Array(capacity);
    /** @type {string[]} */
    this.texts = [];
    /** @type {Map<string, number>} */
    this.known = new Map();
  }

  /** @param {number} index @param {string} text */
  set(index, text) {
    let code = this.known.get(text);
    if (code === undefined) {
      code = this.texts.push(text) - 1;
      this.known.set(text, code);
    }
    this.codes[index] = code;
  }

  /** @param {number} index */
  get(index) {
    return this.texts[this.codes[index]];
  }
}

/**
 * What each node did, as /api/jobs/{account}/{job}/nodes gives it; tasks that never ran are left out.
 * @param {Tasks} tasks
 */
export function nodesOf(tasks) {
  /** @type {Map<string, any>} */
  const nodes = new Map();
  for (let index = 0; index < tasks.count; index++) {
    const nodeId = tasks.node.get(index);
    if (!nodeId) continue;
    const poolId = tasks.pool.get(index);
    const name = JSON.stringify([poolId, nodeId]);
    let node = nodes.get(name);
    if (!node) nodes.set(name, (node = { poolId, nodeId, tasks: 0, failed: 0, retries: 0, busySeconds: 0 }));
    node.tasks += 1;
    node.failed += tasks.outcome[index] === FAILED ? 1 : 0;
    node.retries += tasks.retries[index];
    node.busySeconds += tasks.duration[index] || 0;
  }
  return [...nodes.values()].sort((a, b) => collator.compare(a.poolId, b.poolId) || collator.compare(a.nodeId, b.nodeId));
}

/**
 * Tasks far beyond the rest, longest first.
 * @param {Tasks} tasks
 * @param {number | null | undefined} p95 seconds
 */
export function stragglersOf(tasks, p95) {
  if (!p95) return [];
  const found = [];
  for (let index = 0; index < tasks.count; index++) if (tasks.duration[index] > STRAGGLER * p95) found.push(index);
  return found.sort((a, b) => tasks.duration[b] - tasks.duration[a]);
}
