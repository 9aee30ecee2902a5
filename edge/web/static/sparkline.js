// @ts-check
// A course as a line without axes. Pure.

/** @typedef {[number, number]} Mark unix seconds, USD */

/**
 * The course with a newer point, which takes the last one's place while both are in the same step. What is older than
 * span goes.
 * @param {Mark[]} course oldest first @param {Mark} point @param {number} step @param {number} span both in seconds
 * @returns {Mark[]}
 */
export function withPoint(course, point, step, span) {
  const slot = (/** @type {Mark} */ [t]) => Math.floor(t / step);
  const last = course.at(-1);
  if (last && last[0] >= point[0]) return course; // another edge may be a moment behind
  const kept = last && course.length > 1 && slot(last) === slot(point) ? course.slice(0, -1) : course;
  return [...kept, point].filter(([t]) => t >= point[0] - span);
}

const LEAST = 0.002; // of the price: less than that from top to bottom would make mountains of noise

/**
 * An SVG path through at least two points.
 * @param {Mark[]} course @param {number} width @param {number} height
 */
export function linePath(course, width, height) {
  const prices = course.map(([, price]) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const [middle, span] = [(low + high) / 2, Math.max(high - low, LEAST * high)];
  const [from, to] = [course[0][0], course[course.length - 1][0]];
  const x = (/** @type {number} */ t) => round(((t - from) / (to - from)) * width);
  const y = (/** @type {number} */ p) => round(height / 2 - ((p - middle) / span) * (height - 4)); // room for its width
  return course.map(([t, price], i) => `${i ? "L" : "M"}${x(t)} ${y(price)}`).join("");
}

/** @param {number} v */
const round = (v) => Math.round(v * 10) / 10;
