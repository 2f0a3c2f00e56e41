/**
 * `Grid`: a table of any number of rows, of which only those in sight are in the document. Rows are reached by keyboard
 * (one tab stop; arrows, Page Up and Down, Home, End; Enter opens), columns that have no room are left out.
 */

import { h, fill } from "./dom.js";

const OVERSCAN = 8;
export const NARROW = 700; // pixels
const TALLEST = 16_000_000; // pixels; Firefox draws no element taller than about 17.8 million, Chromium 33.5

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} label
 * @property {string} width a grid track
 * @property {string} [narrow] the same, where the grid is narrower than NARROW
 * @property {(index: number) => import("./dom.js").Child} cell
 * @property {number} [from] shown where the grid is at least so wide, in pixels
 * @property {boolean} [end] aligned to the end, as numbers are
 * @property {boolean} [sortable]
 * @property {string} [hint]
 * @property {string} [class]
 */

/**
 * @typedef {object} Options
 * @property {string} label what the table is, for those who hear it
 * @property {Column[]} columns
 * @property {(index: number) => string} key the row's identity, kept through updates
 * @property {(index: number) => void} [open]
 * @property {(index: number) => string} [rowClass]
 * @property {(key: string) => void} [sort] a header was chosen
 * @property {() => void} [nearEnd] the last rows came into sight
 * @property {(width: number) => number} [rowHeight] in pixels, for a width of the grid
 */

export class Grid {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.count = 0;
    this.active = 0;
    this.activeKey = "";
    this.height = 38;
    /** @type {Map<number, HTMLElement>} */
    this.shown = new Map();
    /** @type {{key: string, descending: boolean} | null} */
    this.sorted = null;
    this.header = h("div", { class: "grid-row grid-header", role: "row", "aria-rowindex": 1 });
    this.body = h("div", { class: "grid-body", role: "rowgroup" });
    this.empty = h("div", { class: "grid-empty", role: "status" });
    this.element = h(
      "div",
      { class: "grid", role: "grid", "aria-label": options.label, on: { scroll: () => this.draw(), keydown: (/** @type {KeyboardEvent} */ event) => this.key(event) } },
      h("div", { class: "grid-head", role: "rowgroup" }, this.header),
      this.body,
      this.empty,
    );
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));
    this.columns = /** @type {Column[]} */ ([]);
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  /**
   * Shows other rows, and keeps the scroll position and the focused row where it still is.
   * @param {number} count
   * @param {{sorted?: {key: string, descending: boolean} | null, empty?: import("./dom.js").Child, top?: boolean}} [state]
   */
  update(count, { sorted = this.sorted, empty = "Nothing to show.", top = false } = {}) {
    const focused = this.body.contains(document.activeElement);
    this.count = Math.min(count, Math.floor(TALLEST / this.height));
    this.sorted = sorted;
    this.element.setAttribute("aria-rowcount", String(count + 1));
    this.forget();
    this.drawHeader();
    this.active = this.find(this.activeKey);
    fill(this.empty, count === 0 && empty);
    this.empty.hidden = count > 0;
    this.measure();
    if (top) this.element.scrollTop = 0;
    this.draw();
    if (focused && this.count) this.focus(this.active, false);
  }

  /** Which row has a key, looked for near where it was first; else the nearest row. @param {string} key */
  find(key) {
    if (!this.count) return 0;
    if (key) for (let index = 0; index < this.count; index++) if (this.options.key(index) === key) return index;
    return Math.min(this.active, this.count - 1);
  }

  forget() {
    this.body.replaceChildren();
    this.shown.clear();
  }

  resize() {
    const width = this.element.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    this.height = this.options.rowHeight?.(width) ?? 38;
    this.columns = this.options.columns.filter((column) => (column.from ?? 0) <= width);
    this.element.style.setProperty("--columns", this.columns.map((column) => (width < NARROW && column.narrow) || column.width).join(" "));
    this.element.style.setProperty("--row", `${this.height}px`);
    this.element.setAttribute("aria-colcount", String(this.columns.length));
    this.forget();
    this.drawHeader();
    this.measure();
    this.draw();
  }

  measure() {
    this.body.style.setProperty("height", `${this.count * this.height}px`);
  }

  drawHeader() {
    fill(this.header, this.columns.map((column) => this.head(column)));
  }

  /** @param {Column} column */
  head(column) {
    const sorted = this.sorted?.key === column.key ? this.sorted : null;
    const cell = h("div", {
      class: `grid-cell ${column.end ? "end" : ""} ${sorted ? "sorted" : ""}`,
      role: "columnheader",
      "aria-sort": column.sortable ? (sorted ? (sorted.descending ? "descending" : "ascending") : "none") : null,
      title: column.hint,
    });
    if (!column.sortable || !this.options.sort) {
      cell.append(column.label);
      return cell;
    }
    const arrow = h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (sorted.descending ? "↓" : "↑") : "");
    cell.append(
      h("button", { type: "button", class: "sort", "data-column": column.key, on: { click: () => this.sortBy(column.key) } }, column.label, arrow),
    );
    return cell;
  }

  /** @param {string} key */
  sortBy(key) {
    this.options.sort?.(key);
    /** @type {HTMLElement | null} */ (this.header.querySelector(`[data-column="${CSS.escape(key)}"]`))?.focus();
  }

  /** Rows in sight: the first, and the one after the last. @returns {[number, number]} */
  range() {
    const first = Math.floor(this.element.scrollTop / this.height) - OVERSCAN;
    const last = Math.ceil((this.element.scrollTop + this.element.clientHeight) / this.height) + OVERSCAN;
    return [Math.max(0, first), Math.min(this.count, last)];
  }

  draw() {
    if (!this.columns.length) return;
    const [first, last] = this.range();
    for (const [index, row] of this.shown) {
      if ((index < first || index >= last) && !row.contains(document.activeElement)) {
        row.remove();
        this.shown.delete(index);
      }
    }
    for (let index = first; index < last; index++) if (!this.shown.has(index)) this.add(index);
    if (this.count && last >= this.count) this.options.nearEnd?.();
  }

  /** @param {number} index */
  add(index) {
    const row = h(
      "div",
      {
        class: `grid-row ${this.options.open ? "opens" : ""} ${this.options.rowClass?.(index) ?? ""}`,
        role: "row",
        "aria-rowindex": index + 2,
        tabindex: index === this.active ? 0 : -1,
        style: { transform: `translateY(${index * this.height}px)` },
      },
      this.columns.map((column) => h("div", { class: `grid-cell ${column.end ? "end" : ""} ${column.class ?? ""}`, role: "gridcell" }, column.cell(index))),
    );
    row.dataset.index = String(index);
    this.shown.set(index, row);
    this.body.append(row);
    return row;
  }

  /** @param {Event} event */
  rowOf(event) {
    const row = event.target instanceof Element ? event.target.closest(".grid-row") : null;
    return row instanceof HTMLElement && row.dataset.index !== undefined ? Number(row.dataset.index) : null;
  }

  /** @param {MouseEvent} event */
  click(event) {
    const index = this.rowOf(event);
    if (index === null || (event.target instanceof Element && event.target.closest("a, button"))) return;
    if (getSelection()?.toString()) return; // an id is being copied
    this.options.open?.(index);
  }

  /** @param {FocusEvent} event */
  focused(event) {
    const index = this.rowOf(event);
    if (index !== null) this.activate(index);
  }

  /** @param {number} index */
  activate(index) {
    this.shown.get(this.active)?.setAttribute("tabindex", "-1");
    this.active = index;
    this.activeKey = this.options.key(index);
    this.shown.get(index)?.setAttribute("tabindex", "0");
  }

  /** @param {number} index @param {boolean} [intoSight] */
  focus(index, intoSight = true) {
    if (intoSight) {
      const head = this.header.offsetHeight;
      const room = this.element.clientHeight - head - this.height;
      const top = index * this.height;
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      else if (top > this.element.scrollTop + room) this.element.scrollTop = top - room;
    }
    const row = this.shown.get(index) ?? this.add(index);
    this.activate(index);
    row.focus({ preventScroll: true });
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!this.count || !(event.target instanceof Element) || !event.target.matches(".grid-body > .grid-row")) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 2);
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: this.count - 1 };
    if (event.key in moves) {
      event.preventDefault();
      this.focus(Math.max(0, Math.min(this.count - 1, moves[event.key])));
    } else if (event.key === "Enter" && this.options.open) {
      event.preventDefault();
      this.options.open(this.active);
    }
  }
}
