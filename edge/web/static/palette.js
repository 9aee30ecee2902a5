// @ts-check
// The page's colours for canvases. They are read once per theme: reading them in every frame would force layouts.

const NAMES = /** @type {const} */ (["paper", "ink", "soft", "grid", "accent", "band", "band-strong"]);

/** @typedef {Record<typeof NAMES[number] | "font", string>} Colors */

/** @type {Colors} */
export const colors = { paper: "", ink: "", soft: "", grid: "", accent: "", band: "", "band-strong": "", font: "" };

/**
 * The colours of points by the sum of their strengths, as pixels of an image, and how strong the oldest is, of 1.
 * @typedef {{inside: Uint32Array, outside: Uint32Array, faintest: number}} PointColors
 */

/** @type {PointColors | null} made when they are first used: pages without points do not need them */
let ofPoints = null;
let faintest = 0;

export function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) colors[name] = style.getPropertyValue(`--${name}`).trim();
  colors.font = getComputedStyle(document.body).fontFamily;
  faintest = Number(style.getPropertyValue("--faintest"));
  ofPoints = null;
}

/** @returns {PointColors} */
export function pointColors() {
  ofPoints ??= { inside: shadesOf(colors.accent), outside: shadesOf(colors.soft), faintest };
  return ofPoints;
}

const OPAQUE = 50; // the sum at which a colour covers 63 %; a single fresh point adds 64
const INKED = 0.45; // the share of ink in the strongest colour

/** A colour by the sum of strengths: first more opaque, then nearer to the ink. @param {string} color */
function shadesOf(color) {
  const [from, to] = [channels(color), channels(colors.ink)];
  const pixels = new Uint8ClampedArray(4 * 256);
  for (let sum = 1; sum < 256; sum++) {
    const inked = INKED * Math.max(0, (sum - 64) / 191);
    for (let k = 0; k < 3; k++) pixels[4 * sum + k] = from[k] + inked * (to[k] - from[k]);
    pixels[4 * sum + 3] = 255 * (1 - Math.exp(-sum / OPAQUE));
  }
  return new Uint32Array(pixels.buffer);
}

/** Red, green and blue of a colour, however it is written. @param {string} color */
function channels(color) {
  const c = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  c.fillStyle = color;
  c.fillRect(0, 0, 1, 1);
  return c.getImageData(0, 0, 1, 1).data;
}

/** Calls onChange when the system's colour preferences change. @param {() => void} onChange */
export function onSystemColors(onChange) {
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", onChange);
  }
}
