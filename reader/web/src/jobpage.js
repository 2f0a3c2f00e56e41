/** `JobPage`: one job from the API; its nodes and tasks are asked for again only when its row was written anew. */

import { get, jobPath } from "./api.js";
import { fill, h, icon, ICONS } from "./dom.js";
import { count } from "./format.js";
import { heading, JobView } from "./jobview.js";
import { PagedTasks } from "./pagedtasks.js";
import { showTask } from "./tasktable.js";
import { Tasks } from "./tasks.js";

const DRAWN = 20_000; // tasks that the timeline loads: about 20 requests and 4 MB
const COLUMNS = "taskId,poolId,nodeId,startTime,endTime,durationSeconds,succeeded,exitCode,failureCode,failureMessage,retryCount,requeueCount,completionCount";

export class JobPage {
  /** @param {string} account @param {string} job @param {(error: unknown) => void} failed */
  constructor(account, job, failed) {
    this.path = jobPath(account, job);
    this.failed = failed;
    this.source = new PagedTasks(this.path, failed);
    this.view = new JobView({ source: this.source, open: (row) => void this.openTask(row) });
    this.title = h("div", { class: "job-title" });
    this.view.element.hidden = true;
    this.element = h("div", {}, h("p", { class: "back" }, h("a", { href: "#/", class: "button quiet" }, icon(ICONS.back), "All jobs")), this.title, this.view.element);
    this.written = "";
  }

  /** Shows a task; with its earlier executions, which its row in a list leaves out, where it has any. @param {any} row */
  async openTask(row) {
    if (row.completionCount > 1) {
      row = await get(`${this.path}/tasks/${encodeURIComponent(row.taskId)}`).catch((error) => (this.failed(error), row));
    }
    showTask(row);
  }

  dispose() {
    this.source.stop.abort();
    this.view.dispose();
  }

  /** @param {AbortSignal} signal */
  async load(signal) {
    const job = await get(this.path, {}, signal);
    fill(this.title, heading(job, Date.now()));
    document.title = `${job.jobId} · Batch rollups`;
    this.view.element.hidden = false;
    if (job.Timestamp === this.written) return;
    const first = !this.written;
    this.written = job.Timestamp;
    this.view.showJob(job);
    if (first) this.view.table.apply();
    else void this.source.refresh();
    try {
      const [{ nodes }] = await Promise.all([get(`${this.path}/nodes`, {}, signal), this.loadTasks(job, signal, first)]);
      this.view.showNodes(nodes);
    } catch (error) {
      this.written = ""; // not all was read: ask again next time
      throw error;
    }
  }

  /** @param {any} job @param {AbortSignal} signal @param {boolean} first */
  async loadTasks(job, signal, first) {
    /** @type {any[]} */
    const rows = [];
    let continuation;
    do {
      const page = await get(`${this.path}/tasks`, { columns: COLUMNS, limit: 1000, continuation }, signal);
      rows.push(...page.tasks);
      if (first && !continuation && page.continuation) this.view.showTasks(Tasks.of(rows), "Loading the rest …");
      continuation = page.continuation;
    } while (continuation && rows.length < DRAWN);
    const part = continuation ? `These are the first ${count(rows.length)} of ${count(job.taskCount)} tasks by id; \`rollups report\` draws all of them.` : "";
    this.view.showTasks(Tasks.of(rows), part);
  }
}
