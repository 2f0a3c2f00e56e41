/**
 * How numbers, durations and times are written. All times are UTC, as in the tables and in Batch's own log.
 */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const NONE = "–";

/** @param {number | null | undefined} value */
export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

/** `12.3k`, for axes. @param {number} value */
export function short(value) {
  return compact.format(value);
}

/** With one decimal. @param {number | null | undefined} value */
export function decimal(value) {
  return value === null || value === undefined ? NONE : tenths.format(value);
}

/** A share of a whole: never rounded to all or nothing. @param {number} part @param {number} all */
export function percent(part, all) {
  if (!all) return NONE;
  const share = (100 * part) / all;
  if (share > 0 && share < 0.1) return "<0.1%";
  if (share < 100 && share > 99.9) return ">99.9%";
  return `${share === 0 || share === 100 ? share : share.toFixed(1)}%`;
}

/**
 * Its two greatest units: `1d 04h`, `2h 05m`, `3m 20s`, `4.2 s`, `17 ms`.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NONE;
  if (seconds === 0) return "0 s";
  if (seconds < 0.9995) return `${seconds < 0.0995 ? Number((seconds * 1000).toPrecision(2)) : Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const total = Math.round(seconds);
  const [days, hours, minutes, rest] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  if (days) return `${whole.format(days)}d ${two(hours)}h`;
  if (hours) return `${hours}h ${two(minutes)}m`;
  return `${minutes}m ${two(rest)}s`;
}

/** A round bound: `1 s`, `17.1 min`, `2.3 d`, for axes. @param {number} seconds */
export function bound(seconds) {
  for (const [unit, size] of /** @type {[string, number][]} */ ([["d", 86400], ["h", 3600], ["min", 60], ["s", 1]])) {
    if (seconds >= size) return `${Number((seconds / size).toPrecision(2))} ${unit}`;
  }
  return `${Number((seconds * 1000).toPrecision(2))} ms`;
}

/** Milliseconds since 1970 of an ISO 8601 text; NaN where there is none. @param {string | null | undefined} iso */
export function milliseconds(iso) {
  return iso ? Date.parse(iso) : NaN;
}

/** `2026-11-22 13:04:05`. @param {number} time milliseconds since 1970 */
export function moment(time) {
  return Number.isFinite(time) ? new Date(time).toISOString().slice(0, 19).replace("T", " ") : NONE;
}

/** `2026-11-22 13:04`. @param {number} time milliseconds since 1970 */
export function minute(time) {
  return moment(time).slice(0, 16);
}

/** `3 min ago`. @param {number} time milliseconds since 1970 @param {number} now the same */
export function ago(time, now) {
  if (!Number.isFinite(time)) return NONE;
  const seconds = Math.max(0, (now - time) / 1000);
  for (const [unit, size] of /** @type {[string, number][]} */ ([["d", 86400], ["h", 3600], ["min", 60]])) {
    if (seconds >= size) return `${whole.format(Math.floor(seconds / size))} ${unit} ago`;
  }
  return "just now";
}

/** `1 task`, `2 tasks`. @param {number} number @param {string} noun */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
