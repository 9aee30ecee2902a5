// @ts-check
// The page's colours, for what is drawn. They are read once, not in every frame: that would make the browser lay out.

const NAMES = /** @type {const} */ (["paper", "ink", "soft", "grid", "accent", "band"]);

/** @typedef {Record<typeof NAMES[number] | "font", string>} Colors */

/** @type {Colors} */
export const colors = { paper: "", ink: "", soft: "", grid: "", accent: "", band: "", font: "" };

export function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) colors[name] = style.getPropertyValue(`--${name}`).trim();
  colors.font = getComputedStyle(document.body).fontFamily;
}

/** Calls then when the system changes what the page should look like. @param {() => void} then */
export function onSystemColors(then) {
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", then);
  }
}
