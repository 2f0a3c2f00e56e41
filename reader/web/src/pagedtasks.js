/** Tasks by pages from the API, in the order of their ids, filtered by the server. */

import { get } from "./api.js";

const PAGE = 200;
const ENOUGH = 50; // a page of a filtered query may be short, or empty, and yet have a next one

/** @implements {import("./tasktable.js").Source} */
export class PagedTasks {
  /** @param {string} path of the job @param {(error: unknown) => void} failed */
  constructor(path, failed) {
    this.path = path;
    this.failed = failed;
    this.searchLabel = "Task id begins with";
    this.sortable = false;
    /** @type {any[]} */
    this.rows = [];
    this.complete = false;
    /** @type {string | null} */
    this.problem = null;
    this.stop = new AbortController();
    this.query = {};
    this.changed = () => {};
  }

  get count() {
    return this.rows.length;
  }

  /** @param {number} index */
  row(index) {
    return this.rows[index];
  }

  /** @param {import("./tasktable.js").Filter} filter @param {unknown} _sort @param {() => void} changed */
  apply(filter, _sort, changed) {
    this.query = {
      prefix: filter.text.trim(),
      failed: filter.outcome === "failed" ? true : filter.outcome === "succeeded" ? false : null,
      retried: filter.outcome === "retried" ? true : null,
      requeued: filter.outcome === "requeued" ? true : null,
      pool: filter.pool,
      node: filter.node.trim(),
      exitCode: filter.exitCode,
      failureCode: filter.failureCode,
      minDuration: filter.minDuration,
      limit: PAGE,
    };
    this.changed = changed;
    this.rows = [];
    this.restart();
    this.more();
  }

  /** The same question again, for as many rows as there are now; what is shown stays until they are here. */
  async refresh() {
    const wanted = this.rows.length;
    this.restart();
    await this.read(wanted, []);
  }

  restart() {
    this.stop.abort();
    this.stop = new AbortController();
    this.reading = false;
    this.complete = false;
    this.problem = null;
    /** @type {string | undefined} */
    this.continuation = undefined;
  }

  more() {
    if (this.reading || this.complete || this.problem) return;
    void this.read(this.rows.length + ENOUGH, this.rows);
  }

  /** Reads on until there are so many rows, or no more. @param {number} wanted @param {any[]} before */
  async read(wanted, before) {
    const { signal } = this.stop;
    this.reading = true;
    let rows = before;
    try {
      do {
        const page = await get(`${this.path}/tasks`, { ...this.query, continuation: this.continuation }, signal);
        rows = [...rows, ...page.tasks];
        this.continuation = page.continuation;
      } while (rows.length < wanted && this.continuation);
      this.complete = !this.continuation;
    } catch (error) {
      if (signal.aborted) return;
      this.problem = error instanceof Error ? error.message : String(error);
      this.failed(error);
    }
    this.rows = rows;
    this.reading = false;
    this.changed();
  }
}
