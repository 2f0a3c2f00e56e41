/**
 * The charts that Apache ECharts draws: progress over time, and the distribution of durations. Only what they need is
 * packed. Tooltips are elements of our own: ECharts' would carry inline styles, which the pages' policy forbids.
 */

import { BarChart, LineChart } from "echarts/charts";
import { AriaComponent, GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

import { h } from "./dom.js";
import { bound, count, minute, percent, short } from "./format.js";
import { color, still, theme } from "./theme.js";

use([AriaComponent, BarChart, CanvasRenderer, GridComponent, LineChart, TooltipComponent]);

/**
 * A chart that follows its element's size and the theme.
 * @template Data
 */
class Chart {
  /** @param {string} label @param {(data: Data) => object} option */
  constructor(label, option) {
    this.option = option;
    this.element = h("div", { class: "chart", role: "img", "aria-label": label });
    /** @type {Data | null} */
    this.data = null;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
    this.repaint = () => this.draw();
    theme.addEventListener("change", this.repaint);
  }

  /** @param {Data} data */
  show(data) {
    const same = JSON.stringify(data) === this.shown;
    this.data = data;
    if (!same) this.draw();
  }

  resize() {
    if (!this.element.clientWidth) return;
    if (this.chart) this.chart.resize();
    else this.draw();
  }

  draw() {
    if (!this.data || !this.element.clientWidth) return;
    this.chart ??= init(this.element, null, { renderer: "canvas" });
    this.shown = JSON.stringify(this.data);
    this.chart.setOption({ ...common(), ...this.option(this.data) }, { notMerge: true });
  }

  dispose() {
    this.observer.disconnect();
    theme.removeEventListener("change", this.repaint);
    this.chart?.dispose();
  }
}

function common() {
  return {
    animation: !still(),
    animationDuration: 250,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: color("muted"), fontSize: 12 },
    grid: { left: 4, right: 6, top: 26, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
  };
}

/** What those hear who do not see a chart. @param {string} description */
const described = (description) => ({ enabled: true, label: { description } });

/** @param {string} name */
const axisName = (name) => ({ name, nameGap: 12, nameTextStyle: { color: color("muted"), fontSize: 11.5 } });

const labels = () => ({ color: color("muted"), fontSize: 11.5, hideOverlap: true });

/** @param {string} name @param {"left" | "right"} side @param {boolean} lines */
const counts = (name, side, lines) => ({
  type: "value",
  minInterval: 1,
  ...axisName(name),
  nameTextStyle: { color: color("muted"), fontSize: 11.5, align: side },
  axisLabel: { ...labels(), formatter: short },
  splitLine: { show: lines, lineStyle: { color: color("line") } },
  splitNumber: 4,
});

/** @param {(index: number) => [string, string][]} lines what is said of a bar: a title, then names and values */
const tooltip = (lines) => ({
  trigger: "axis",
  confine: true,
  className: "tooltip",
  backgroundColor: color("raised"),
  borderColor: color("border"),
  padding: [8, 10],
  textStyle: { color: color("text"), fontSize: 12 },
  transitionDuration: 0,
  axisPointer: { type: "shadow", shadowStyle: { color: color("hover") } },
  formatter: (/** @type {any} */ points) => tip(lines([points].flat()[0].dataIndex)),
});

/** @param {[string, string][]} lines */
export function tip(lines) {
  const [[title, more], ...rest] = lines;
  return h(
    "div",
    { class: "tip" },
    h("div", { class: "tip-title" }, title),
    more && h("div", { class: "tip-more" }, more),
    rest.map(([name, value]) => h("div", { class: "tip-line" }, h("span", {}, name), h("b", {}, value))),
  );
}

/**
 * Executions by end time, and their running sum.
 * @param {string} label
 * @returns {Chart<{start: string, widthSeconds: number, counts: number[]}>}
 */
export function progressChart(label) {
  return new Chart(label, (series) => {
    const start = Date.parse(series.start);
    const width = series.widthSeconds * 1000;
    let sum = 0;
    const sums = series.counts.map((number) => (sum += number));
    const sameDay = series.counts.length * width < 86_400_000;
    const when = (/** @type {number} */ index) => minute(start + index * width);
    const peak = series.counts.indexOf(Math.max(...series.counts));
    return {
      aria: described(`${label}: ${count(sum)} from ${when(0)} to ${when(sums.length)} UTC, the most (${count(series.counts[peak])}) in the ${bound(series.widthSeconds)} from ${when(peak)} on.`),
      tooltip: tooltip((index) => [
        [`${when(index)} UTC`, `and the ${bound(series.widthSeconds)} after it`],
        ["ended", count(series.counts[index])],
        ["so far", `${count(sums[index])} (${percent(sums[index], sum)})`],
      ]),
      xAxis: {
        type: "category",
        data: series.counts.map((_, index) => (sameDay ? when(index).slice(11) : when(index).slice(5))),
        axisLabel: labels(),
        axisTick: { show: false },
        axisLine: { lineStyle: { color: color("border") } },
      },
      yAxis: [counts("ended", "left", true), counts("so far", "right", false)],
      series: [
        { name: "ended", type: "bar", data: series.counts, barCategoryGap: "12%", barMaxWidth: 28, itemStyle: { color: color("series-1"), borderRadius: [2, 2, 0, 0] } },
        { name: "so far", type: "line", yAxisIndex: 1, data: sums, symbol: "none", lineStyle: { color: color("series-2"), width: 2 }, itemStyle: { color: color("series-2") } },
      ],
    };
  });
}

/**
 * Executions by duration, in powers of two.
 * @param {string} label
 * @returns {Chart<Record<string, number>>}
 */
export function durationChart(label) {
  return new Chart(label, (histogram) => {
    const found = new Map(Object.entries(histogram).map(([upper, number]) => [Math.round(Math.log2(Number(upper))), number]));
    const powers = [...found.keys()];
    const [least, greatest] = [Math.min(...powers), Math.max(...powers)];
    const all = [...found.values()].reduce((sum, number) => sum + number, 0);
    const bars = Array.from({ length: greatest - least + 1 }, (_, index) => ({ power: least + index, number: found.get(least + index) ?? 0 }));
    const told = bars.filter(({ number }) => number).map(({ power, number }) => `${count(number)} up to ${bound(2 ** power)}`);
    return {
      aria: described(`${label}: ${told.join(", ")}.`),
      tooltip: tooltip((index) => [
        [`${bound(2 ** (bars[index].power - 1))} to ${bound(2 ** bars[index].power)}`, ""],
        ["executions", `${count(bars[index].number)} (${percent(bars[index].number, all)})`],
      ]),
      xAxis: {
        type: "category",
        data: bars.map(({ power }) => `≤ ${bound(2 ** power)}`),
        axisLabel: labels(),
        axisTick: { show: false },
        axisLine: { lineStyle: { color: color("border") } },
      },
      yAxis: counts("executions", "left", true),
      series: [{ name: "executions", type: "bar", data: bars.map(({ number }) => number), barCategoryGap: "16%", barMaxWidth: 64, itemStyle: { color: color("series-1"), borderRadius: [3, 3, 0, 0] } }],
    };
  });
}
