/**
 * `Timeline`: tasks by node over time, one lane a node and more where its tasks overlap. Drawn by us on one canvas of
 * the size of what is in sight, so that a frame costs by pixels, not by tasks: within a lane the first task in sight is
 * found by bisection, and tasks that share a pixel are drawn once. Failed tasks are drawn last and never narrower than
 * two pixels: they are what is looked for.
 */

import { tip } from "./charts.js";
import { fill, h, icon, ICONS } from "./dom.js";
import { count, duration, moment, plural } from "./format.js";
import { FAILED } from "./tasks.js";
import { color, theme } from "./theme.js";

const AXIS = 26;
const GAP = 5;
const LANES = 256; // Azure Batch: task slots per node, at most
const SHORTEST_VIEW = 1; // milliseconds
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 12096e5, 26784e5, 80352e5, 316224e5];

/** @typedef {{pool: string, node: string, lanes: Uint32Array[], top: number, height: number, lane: number}} Group */

export class Timeline {
  /** @param {{open: (index: number) => void}} options */
  constructor({ open }) {
    this.open = open;
    /** @type {import("./tasks.js").Tasks | null} */
    this.tasks = null;
    /** @type {Group[]} */
    this.groups = [];
    /** @type {Set<string>} */
    this.marked = new Set();
    this.gutterNow = 0;
    this.colors = { bad: "", bar: "", line: "", muted: "" };
    this.from = this.to = this.first = this.last = 0;
    this.canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { class: "timeline-canvas", tabindex: 0, role: "img" }));
    this.spacer = h("div", { class: "timeline-spacer" });
    this.tooltip = h("div", { class: "timeline-tip", hidden: true });
    this.scroller = h("div", { class: "timeline-scroller" }, this.canvas, this.spacer);
    this.note = h("span", { class: "note" });
    const button = (/** @type {string} */ path, /** @type {string} */ label, /** @type {() => void} */ action) =>
      h("button", { type: "button", class: "button square", "aria-label": label, title: label, on: { click: action } }, icon(path));
    this.element = h(
      "div",
      { class: "timeline" },
      h(
        "div",
        { class: "timeline-tools" },
        h("span", { class: "legend" }, h("i", { class: "swatch ok" }), "succeeded", h("i", { class: "swatch failed" }), "failed"),
        this.note,
        h("span", { class: "spring" }),
        button(ICONS.minus, "Zoom out", () => this.zoom(2)),
        button(ICONS.plus, "Zoom in", () => this.zoom(0.5)),
        button(ICONS.reset, "Show all", () => this.view(this.first, this.last)),
      ),
      this.scroller,
      this.tooltip,
    );
    this.listen();
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.scroller);
    this.repaint = () => this.schedule();
    theme.addEventListener("change", this.repaint);
  }

  dispose() {
    this.observer.disconnect();
    theme.removeEventListener("change", this.repaint);
  }

  /** @param {import("./tasks.js").Tasks} tasks */
  show(tasks) {
    const unchanged = this.from === this.first && this.to === this.last;
    this.tasks = tasks;
    this.groups = groupsOf(tasks);
    let [first, last, drawn] = [Infinity, -Infinity, 0];
    let top = 0;
    for (const group of this.groups) {
      group.top = top;
      top += group.height;
      for (const lane of group.lanes) {
        drawn += lane.length;
        first = Math.min(first, tasks.start[lane[0]]);
        last = Math.max(last, tasks.end[lane[lane.length - 1]]);
      }
    }
    if (!drawn) [first, last] = [0, 1];
    const margin = Math.max((last - first) * 0.005, SHORTEST_VIEW);
    [this.first, this.last] = [first - margin, last + margin];
    if (unchanged) [this.from, this.to] = [this.first, this.last];
    this.total = top;
    const left = tasks.count - drawn;
    fill(this.note, left > 0 && `${plural(left, "task")} without a node or a duration ${left === 1 ? "is" : "are"} not shown`);
    this.canvas.setAttribute(
      "aria-label",
      `Timeline of ${plural(drawn, "task")} on ${plural(this.groups.length, "node")}, from ${moment(first)} to ${moment(last)} UTC. ` +
        "Left and right move, plus and minus zoom, 0 shows all, up and down scroll the nodes.",
    );
    this.scroller.style.setProperty("height", `${Math.min(Math.max(top, 40), 460) + AXIS + 2}px`);
    this.spacer.style.setProperty("height", `${top + AXIS}px`);
    this.schedule();
  }

  /** Makes the names of nodes stand out. @param {{poolId: string, nodeId: string}[]} nodes */
  mark(nodes) {
    this.marked = new Set(nodes.map((node) => nodeName(node.poolId, node.nodeId)));
    this.schedule();
  }

  /** @param {number} from @param {number} to milliseconds since 1970 */
  view(from, to) {
    const span = Math.min(Math.max(to - from, SHORTEST_VIEW), this.last - this.first);
    const start = Math.min(Math.max(from, this.first), this.last - span);
    [this.from, this.to] = [start, start + span];
    this.schedule();
  }

  /** @param {number} factor @param {number} [around] the time that stays where it is */
  zoom(factor, around = (this.from + this.to) / 2) {
    this.view(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  /** @param {number} share of what is in sight */
  pan(share) {
    const by = (this.to - this.from) * share;
    this.view(this.from + by, this.to + by);
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  get gutter() {
    return this.scroller.clientWidth < 560 ? 84 : 168;
  }

  draw() {
    const [width, height] = [this.scroller.clientWidth, this.scroller.clientHeight];
    if (!this.tasks || !width) return;
    const ratio = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.setProperty("width", `${width}px`);
      this.canvas.style.setProperty("height", `${height}px`);
      this.spacer.style.setProperty("margin-top", `${-height}px`);
    }
    const paint = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, width, height);
    this.gutterNow = this.gutter; // asking for it costs a layout
    const scale = (width - this.gutter) / (this.to - this.from);
    this.colors = { bad: color("bad"), bar: color("series-1"), line: color("line"), muted: color("muted") };
    this.drawAxis(paint, width, height, scale);
    paint.save();
    paint.beginPath();
    paint.rect(0, AXIS, width, height - AXIS);
    paint.clip();
    const scrolled = this.scroller.scrollTop;
    for (const group of this.groups) {
      const top = group.top - scrolled + AXIS;
      if (top + group.height < AXIS) continue;
      if (top > height) break;
      this.drawGroup(paint, group, top, width, scale);
    }
    paint.restore();
  }

  /** @param {CanvasRenderingContext2D} paint @param {number} width @param {number} height @param {number} scale */
  drawAxis(paint, width, height, scale) {
    const room = width < 560 ? 76 : 110;
    const step = STEPS.find((candidate) => candidate * scale >= room) ?? STEPS[STEPS.length - 1];
    paint.font = this.font(11);
    paint.textBaseline = "middle";
    paint.textAlign = "left";
    for (let time = Math.ceil(this.from / step) * step; time <= this.to; time += step) {
      const x = Math.round(this.gutter + (time - this.from) * scale) + 0.5;
      paint.fillStyle = this.colors.line;
      paint.fillRect(x, AXIS - 4, 1, height);
      paint.fillStyle = this.colors.muted;
      if (x + 50 < width) paint.fillText(tick(time, step), x + 4, AXIS / 2);
    }
    paint.fillStyle = this.colors.muted;
    paint.fillText("UTC", 2, AXIS / 2);
  }

  /** @param {number} size */
  font(size) {
    this.family ??= getComputedStyle(document.body).fontFamily;
    return `${size}px ${this.family}`;
  }

  /** @param {CanvasRenderingContext2D} paint @param {Group} group @param {number} top @param {number} width @param {number} scale */
  drawGroup(paint, group, top, width, scale) {
    const tasks = /** @type {import("./tasks.js").Tasks} */ (this.tasks);
    paint.fillStyle = this.colors.line;
    paint.fillRect(0, Math.round(top + group.height) - 1, width, 1);
    paint.fillStyle = this.marked.has(nodeName(group.pool, group.node)) ? this.colors.bad : this.colors.muted;
    paint.font = this.font(11);
    paint.textAlign = "left";
    paint.textBaseline = "middle";
    paint.fillText(shortened(paint, group.node, this.gutter - 14), 2, Math.min(top + group.height / 2, top + 9));
    for (const [row, lane] of group.lanes.entries()) {
      const y = top + GAP / 2 + row * group.lane;
      const tall = Math.max(2, group.lane - (group.lane > 6 ? 2 : 1));
      /** @type {number[]} */
      const bad = [];
      const plain = new Run(paint, y, tall, 1);
      paint.fillStyle = this.colors.bar;
      for (let at = firstInSight(tasks, lane, this.from); at < lane.length; at++) {
        const index = lane[at];
        if (tasks.start[index] > this.to) break;
        if (tasks.outcome[index] === FAILED) bad.push(index);
        else plain.add(this.x(tasks.start[index], scale), Math.min(this.x(tasks.end[index], scale), width));
      }
      plain.end();
      const failed = new Run(paint, y, tall, 2);
      paint.fillStyle = this.colors.bad;
      for (const index of bad) failed.add(this.x(tasks.start[index], scale), Math.min(this.x(tasks.end[index], scale), width));
      failed.end();
    }
  }

  /** Where a time is on the canvas. @param {number} time @param {number} scale */
  x(time, scale) {
    return Math.max(this.gutterNow + Math.round((time - this.from) * scale), this.gutterNow);
  }

  /** The task drawn at a point of the canvas, within two pixels. @param {number} x @param {number} y @returns {number | null} */
  at(x, y) {
    if (!this.tasks || y < AXIS || x < this.gutter) return null;
    const down = y - AXIS + this.scroller.scrollTop;
    const group = this.groups.find((candidate) => down >= candidate.top && down < candidate.top + candidate.height);
    const lane = group?.lanes[Math.floor((down - group.top - GAP / 2) / group.lane)];
    if (!lane) return null;
    const perPixel = (this.to - this.from) / (this.scroller.clientWidth - this.gutter);
    const time = this.from + (x - this.gutter) * perPixel;
    let nearest = null;
    let distance = 2 * perPixel;
    for (let at = firstInSight(this.tasks, lane, time - distance); at < lane.length; at++) {
      const index = lane[at];
      if (this.tasks.start[index] > time + 2 * perPixel) break;
      const away = Math.max(this.tasks.start[index] - time, time - this.tasks.end[index], 0);
      const preferred = away < distance || (away === distance && this.tasks.outcome[index] === FAILED);
      if (nearest === null ? away <= distance : preferred) [nearest, distance] = [index, away];
    }
    return nearest;
  }

  /** @param {number} x in pixels of the canvas */
  timeAt(x) {
    return this.from + ((x - this.gutter) * (this.to - this.from)) / (this.scroller.clientWidth - this.gutter);
  }

  listen() {
    /** @type {Map<number, number>} */
    const pointers = new Map();
    let moved = 0;
    this.scroller.addEventListener("scroll", () => this.schedule());
    this.canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, event.offsetX);
      if (event.pointerType === "mouse") this.canvas.setPointerCapture(event.pointerId);
      if (pointers.size === 1) moved = 0;
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (before === undefined) return this.hover(event);
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
      pointers.set(event.pointerId, event.offsetX);
      moved += Math.abs(event.offsetX - before);
      this.tooltip.hidden = true;
      if (other === undefined) this.pan((before - event.offsetX) / (this.scroller.clientWidth - this.gutter));
      else this.zoom(Math.max(8, Math.abs(before - other)) / Math.max(8, Math.abs(event.offsetX - other)), this.timeAt(other));
    });
    const up = (/** @type {PointerEvent} */ event) => {
      const known = pointers.delete(event.pointerId);
      if (!known || event.type !== "pointerup" || moved > 4) return;
      const index = this.at(event.offsetX, event.offsetY);
      if (index !== null) this.open(index);
    };
    this.canvas.addEventListener("pointerup", up);
    this.canvas.addEventListener("pointercancel", up);
    this.canvas.addEventListener("pointerleave", () => (this.tooltip.hidden = true));
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(event.deltaY * 0.004), this.timeAt(event.offsetX));
        else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(event.deltaX / this.scroller.clientWidth);
        else if (event.shiftKey) this.pan(event.deltaY / this.scroller.clientWidth);
        else return;
        event.preventDefault();
      },
      { passive: false },
    );
    this.canvas.addEventListener("dblclick", (event) => this.zoom(0.25, this.timeAt(event.offsetX)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => this.pan(-0.1),
      ArrowRight: () => this.pan(0.1),
      ArrowUp: () => this.scroller.scrollBy(0, -60),
      ArrowDown: () => this.scroller.scrollBy(0, 60),
      "+": () => this.zoom(0.5),
      "=": () => this.zoom(0.5),
      "-": () => this.zoom(2),
      0: () => this.view(this.first, this.last),
    };
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** @param {PointerEvent} event */
  hover(event) {
    const tasks = this.tasks;
    const index = this.at(event.offsetX, event.offsetY);
    this.canvas.classList.toggle("over", index !== null);
    this.tooltip.hidden = index === null;
    if (index === null || !tasks) return;
    const failed = tasks.outcome[index] === FAILED;
    fill(
      this.tooltip,
      tip([
        [tasks.id[index], `${tasks.pool.get(index)} / ${tasks.node.get(index)}`],
        ["from", `${moment(tasks.start[index])} UTC`],
        ["took", duration(tasks.duration[index])],
        ["outcome", failed ? `failed: ${tasks.reason(index)}` : "succeeded"],
        ...(tasks.retries[index] ? [/** @type {[string, string]} */ (["retries", count(tasks.retries[index])])] : []),
      ]),
    );
    const box = this.element.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const left = x + 14 + this.tooltip.offsetWidth > box.width ? Math.max(0, x - 14 - this.tooltip.offsetWidth) : x + 14;
    this.tooltip.style.setProperty("transform", `translate(${left}px, ${y + 16}px)`);
  }
}

/** Bars of one lane, from left to right, in whole pixels: those without room for a gap are drawn as one. */
class Run {
  /** @param {CanvasRenderingContext2D} paint @param {number} y @param {number} height @param {number} least pixels of a bar */
  constructor(paint, y, height, least) {
    this.paint = paint;
    this.y = y;
    this.height = height;
    this.least = least;
    this.left = this.right = -1;
  }

  /** @param {number} left @param {number} right */
  add(left, right) {
    const wide = right - left > 3;
    const end = wide ? right - 1 : Math.max(right, left + this.least);
    if (left > this.right || wide) {
      this.end();
      this.left = Math.max(left, this.right);
    }
    this.right = Math.max(this.right, end);
  }

  end() {
    if (this.right > this.left) this.paint.fillRect(this.left, this.y, this.right - this.left, this.height);
  }
}

/**
 * Tasks by pool and node, with the lanes that keep those apart that overlap.
 * @param {import("./tasks.js").Tasks} tasks
 * @returns {Group[]}
 */
function groupsOf(tasks) {
  const collator = new Intl.Collator("en", { numeric: true });
  /** @type {Map<string, {pool: string, node: string, tasks: number[]}>} */
  const nodes = new Map();
  for (const index of tasks.order((a, b) => tasks.start[a] - tasks.start[b])) {
    if (Number.isNaN(tasks.duration[index]) || Number.isNaN(tasks.start[index])) continue;
    if (!tasks.node.get(index)) continue;
    const [pool, node] = [tasks.pool.get(index), tasks.node.get(index)];
    const name = nodeName(pool, node);
    let group = nodes.get(name);
    if (!group) nodes.set(name, (group = { pool, node, tasks: [] }));
    group.tasks.push(index);
  }
  const sorted = [...nodes.values()].sort((a, b) => collator.compare(a.pool, b.pool) || collator.compare(a.node, b.node));
  return sorted.map((group) => {
    /** @type {number[][]} */
    const lanes = [];
    for (const index of group.tasks) {
      let lane = lanes.find((candidate) => tasks.end[candidate[candidate.length - 1]] <= tasks.start[index]);
      if (!lane && lanes.length === LANES) continue;
      if (!lane) lanes.push((lane = []));
      lane.push(index);
    }
    const lane = lanes.length === 1 ? 15 : lanes.length <= 4 ? 9 : 5;
    return { pool: group.pool, node: group.node, lanes: lanes.map((indexes) => Uint32Array.from(indexes)), top: 0, height: lanes.length * lane + GAP, lane };
  });
}

/** @param {string} pool @param {string} node */
const nodeName = (pool, node) => JSON.stringify([pool, node]);

/** Position in a lane of the first task that ends after a time. @param {import("./tasks.js").Tasks} tasks @param {Uint32Array} lane @param {number} time */
function firstInSight(tasks, lane, time) {
  let [low, high] = [0, lane.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tasks.end[lane[middle]] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {number} time @param {number} step milliseconds */
function tick(time, step) {
  const text = new Date(time).toISOString();
  if (step >= 864e5) return text.slice(0, 10);
  if (step >= 6e4) return time % 864e5 ? text.slice(11, 16) : text.slice(5, 10);
  return step >= 1e3 ? text.slice(11, 19) : text.slice(14, 23);
}

/** A text cut in its middle to a width: the ends of nodes' names tell them apart. @param {CanvasRenderingContext2D} paint @param {string} text @param {number} width */
function shortened(paint, text, width) {
  if (paint.measureText(text).width <= width) return text;
  let keep = Math.min(text.length, 40);
  while (keep > 2 && paint.measureText(`${text.slice(0, keep >> 1)}…${text.slice(-(keep - (keep >> 1)))}`).width > width) keep -= 1;
  return `${text.slice(0, keep >> 1)}…${text.slice(-(keep - (keep >> 1)))}`;
}
