// @ts-check
// The page's colours for canvases. They are read once per theme: reading them in every frame would force layouts.

const NAMES = /** @type {const} */ (["paper", "ink", "soft", "grid", "accent", "band", "band-strong"]);

/** @typedef {Record<typeof NAMES[number] | "font", string>} Colors */

/** @type {Colors} */
export const colors = { paper: "", ink: "", soft: "", grid: "", accent: "", band: "", "band-strong": "", font: "" };

export function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) colors[name] = style.getPropertyValue(`--${name}`).trim();
  colors.font = getComputedStyle(document.body).fontFamily;
}

/** Calls onChange when the system's colour preferences change. @param {() => void} onChange */
export function onSystemColors(onChange) {
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", onChange);
  }
}
