// @ts-check
// The reader's settings, stored in this browser: theme, time zone and language. A link overrides them without storing.

import { LANGUAGES } from "./language.js";

/** @typedef {"theme" | "zone" | "language"} Name */

/** @type {Record<Name, string[]>} the first follows the system */
const VALUES = {
  theme: ["system", "light", "dark", "contrast"], zone: ["local", "utc"], language: ["system", ...LANGUAGES.keys()],
};

/** @type {Name[]} */
const NAMES = ["theme", "zone", "language"];

const PREFIX = "sightglass."; // all sites of a host share its storage

/** @type {Record<Name, string>} */
export const settings = { theme: loadSetting("theme"), zone: loadSetting("zone"), language: loadSetting("language") };

/** @param {Name} name */
function loadSetting(name) {
  try {
    return validValue(name, localStorage.getItem(PREFIX + name)) ?? VALUES[name][0];
  } catch {
    return VALUES[name][0]; // storage is blocked
  }
}

/** @param {Name} name @param {string | null} value */
function validValue(name, value) {
  return value !== null && VALUES[name].includes(value) ? value : null;
}

/** Applies the settings in a link, without storing them. @param {URLSearchParams} link */
export function applyLink(link) {
  for (const name of NAMES) settings[name] = validValue(name, link.get(name)) ?? settings[name];
}

/** Shows the settings in the page's controls. */
export function showSettings() {
  for (const name of NAMES) control(name).value = settings[name];
}

/** @param {(name: Name) => void} onChange called after a control was used */
export function onSetting(onChange) {
  for (const name of NAMES) {
    control(name).addEventListener("change", () => {
      settings[name] = control(name).value;
      storeSetting(name);
      onChange(name);
    });
  }
}

/** @param {Name} name */
function control(name) {
  return /** @type {HTMLSelectElement} */ (document.getElementById(name));
}

/** @param {Name} name */
function storeSetting(name) {
  try {
    localStorage.setItem(PREFIX + name, settings[name]);
  } catch {
    // Storage is blocked: the setting lasts as long as the page.
  }
}

/** Sets the attributes that select the palette. */
export function applyTheme() {
  const { dataset } = document.documentElement;
  const { theme } = settings;
  if (theme === "light" || theme === "dark") dataset.theme = theme;
  else delete dataset.theme;
  if (theme === "contrast") dataset.contrast = "more";
  else delete dataset.contrast;
}
