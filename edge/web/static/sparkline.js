// @ts-check
// A price history as a line without axes. Pure.

/** @typedef {[number, number]} Mark unix seconds, USD */

/**
 * The marks with a newer one, which replaces the last while both are in the same step. Marks older than span are dropped.
 * @param {Mark[]} marks oldest first @param {Mark} newest @param {number} step @param {number} span both in seconds
 * @returns {Mark[]}
 */
export function withMark(marks, newest, step, span) {
  const slot = (/** @type {Mark} */ [t]) => Math.floor(t / step);
  const last = marks.at(-1);
  if (last && last[0] >= newest[0]) return marks; // another edge may lag
  const earlier = last && marks.length > 1 && slot(last) === slot(newest) ? marks.slice(0, -1) : marks;
  return [...earlier, newest].filter(([t]) => t >= newest[0] - span);
}

const MIN_SPAN = 0.002; // of the price, from top to bottom: a smaller span would magnify noise

/**
 * An SVG path through at least two marks.
 * @param {Mark[]} marks @param {number} width @param {number} height
 */
export function linePath(marks, width, height) {
  const prices = marks.map(([, price]) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const [middle, span] = [(low + high) / 2, Math.max(high - low, MIN_SPAN * high)];
  const [from, to] = [marks[0][0], marks[marks.length - 1][0]];
  const x = (/** @type {number} */ t) => round(((t - from) / (to - from)) * width);
  const y = (/** @type {number} */ p) => round(height / 2 - ((p - middle) / span) * (height - 4)); // margin for the line width
  return marks.map(([t, price], i) => `${i ? "L" : "M"}${x(t)} ${y(price)}`).join("");
}

/** @param {number} v */
const round = (v) => Math.round(v * 10) / 10;
