/**
 * Light or dark: the system's choice until the reader chooses; the choice is kept in localStorage where there is one
 * (a file opened from disk may have none). `theme` dispatches "change".
 */

import { h, icon, fill, ICONS } from "./dom.js";

const KEY = "rollups.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export const theme = new EventTarget();

/** @returns {"light" | "dark"} */
export function current() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return system.matches ? "dark" : "light";
}

/** A colour of the current theme, by its custom property. @param {string} name */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Whether motion is unwelcome. */
export function still() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Applies a choice of an earlier visit. */
export function restore() {
  try {
    const chosen = localStorage.getItem(KEY);
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // no storage: the system's choice holds
  }
  system.addEventListener("change", () => theme.dispatchEvent(new Event("change")));
}

/** The button that changes it. @returns {HTMLElement} */
export function toggle() {
  const button = h("button", { class: "button quiet square", type: "button", on: { click: flip } });
  const show = () => {
    const other = current() === "dark" ? "light" : "dark";
    fill(button, icon(other === "dark" ? ICONS.moon : ICONS.sun));
    button.setAttribute("aria-label", `Use the ${other} theme`);
    button.title = `Use the ${other} theme`;
  };
  theme.addEventListener("change", show);
  show();
  return button;
}

function flip() {
  const chosen = current() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // no storage: the choice holds for this page
  }
  theme.dispatchEvent(new Event("change"));
}
