/** The report's page: reads the data beside it in the file, and shows them. */

import { fill, h } from "./dom.js";
import { milliseconds, moment } from "./format.js";
import { heading, JobView } from "./jobview.js";
import { nodesOf, Tasks } from "./tasks.js";
import { MemoryTasks } from "./tasktable.js";
import * as theme from "./theme.js";
import { focusSearch } from "./keys.js";

/** @param {string} id */
const parsed = (id) => JSON.parse(/** @type {HTMLElement} */ (document.getElementById(id)).textContent ?? "");

/**
 * Tasks from the file: blocks of columns, with one dictionary of texts for all. Times are milliseconds from `start`,
 * null where unknown.
 */
function tasksOf(/** @type {any} */ about) {
  const { texts, start } = about;
  const tasks = new Tasks(about.tasks);
  const number = (/** @type {number | null} */ value) => value ?? NaN;
  for (const block of document.querySelectorAll("script.tasks")) {
    const columns = JSON.parse(block.textContent ?? "");
    for (let row = 0; row < columns.taskId.length; row++) {
      const index = tasks.count++;
      tasks.id.push(columns.taskId[row]);
      tasks.pool.set(index, texts[columns.poolId[row]]);
      tasks.node.set(index, texts[columns.nodeId[row]]);
      tasks.failure.set(index, texts[columns.failureCode[row]]);
      tasks.message.set(index, texts[columns.failureMessage[row]]);
      tasks.start[index] = start + number(columns.startTime[row]);
      tasks.end[index] = start + number(columns.endTime[row]);
      tasks.duration[index] = number(columns.durationSeconds[row]);
      tasks.outcome[index] = columns.succeeded[row];
      tasks.exit[index] = number(columns.exitCode[row]);
      tasks.retries[index] = columns.retryCount[row];
      tasks.requeues[index] = columns.requeueCount[row];
      tasks.executions[index] = columns.completionCount[row];
    }
    block.remove(); // its text is no longer needed
  }
  return tasks;
}

theme.restore();
const { job } = parsed("job");
const about = parsed("about");
const tasks = tasksOf(about);
const made = milliseconds(about.made);
const view = new JobView({ source: new MemoryTasks(tasks) });
const page = /** @type {HTMLElement} */ (document.getElementById("page"));
fill(
  page,
  h("header", { class: "top" }, heading(job, made), theme.toggle()),
  h("main", {}, view.element),
  h("footer", { class: "note" }, `Made ${moment(made)} UTC by rollups. Times are UTC; percentiles are within 1%. This file needs no network.`),
);
view.showJob(job);
view.showNodes(nodesOf(tasks));
view.showTasks(tasks);
view.table.apply();
focusSearch();
page.dataset.ready = "true";
