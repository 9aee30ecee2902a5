// @ts-check
// What the reader chose, kept in this browser: the theme and the zone of times. A link may say otherwise, for once.

/** @typedef {"theme" | "zone"} Name */

/** @type {Record<Name, string[]>} the first is what the system does */
const VALUES = { theme: ["system", "light", "dark", "contrast"], zone: ["local", "utc"] };

/** @type {Name[]} */
const NAMES = ["theme", "zone"];

const PREFIX = "sightglass."; // storage is one for all paths of a host, and other sites may be there

/** @type {Record<Name, string>} */
export const settings = { theme: recall("theme"), zone: recall("zone") };

/** @param {Name} name */
function recall(name) {
  try {
    return known(name, localStorage.getItem(PREFIX + name)) ?? VALUES[name][0];
  } catch {
    return VALUES[name][0]; // storage is forbidden here
  }
}

/** @param {Name} name @param {string | null} value */
function known(name, value) {
  return value !== null && VALUES[name].includes(value) ? value : null;
}

/** Takes from a link what it says. @param {URLSearchParams} link */
export function borrow(link) {
  for (const name of NAMES) settings[name] = known(name, link.get(name)) ?? settings[name];
}

/** Puts them in the page's controls. */
export function showSettings() {
  for (const name of NAMES) control(name).value = settings[name];
}

/** @param {(name: Name) => void} then after a control was used */
export function onSetting(then) {
  for (const name of NAMES) {
    control(name).addEventListener("change", () => {
      settings[name] = control(name).value;
      keep(name);
      then(name);
    });
  }
}

/** @param {Name} name */
function control(name) {
  return /** @type {HTMLSelectElement} */ (document.getElementById(name));
}

/** @param {Name} name */
function keep(name) {
  try {
    localStorage.setItem(PREFIX + name, settings[name]);
  } catch {
    // Then it lasts as long as the page.
  }
}

/** The palette's two switches. */
export function applyTheme() {
  const { dataset } = document.documentElement;
  const { theme } = settings;
  if (theme === "light" || theme === "dark") dataset.theme = theme;
  else delete dataset.theme;
  if (theme === "contrast") dataset.contrast = "more";
  else delete dataset.contrast;
}
