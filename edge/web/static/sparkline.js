// @ts-check
// A price history as a line without axes. Pure.

/** @typedef {[number, number]} Mark unix seconds, USD */

const HOUR = 3600;
const DAY = 24 * HOUR;
const POINTS = 300; // about one for each pixel
const FINE = 10; // seconds: as fine as the history is
const SHORT_GAP = 150; // seconds without an entry that are no gap yet, however fine the steps are

/**
 * How much of the history is shown: its length and the step between two points, in seconds; the length as people say it.
 * @typedef {{seconds: number, step: number, count: number, unit: "hour" | "day" | "month"}} Span
 */

/** By name. @type {Map<string | null, Span>} */
const SPANS = new Map([
  ["3h", { seconds: 3 * HOUR, step: 60, count: 3, unit: "hour" }],
  ["1d", { seconds: DAY, step: 300, count: 24, unit: "hour" }],
  ["1w", { seconds: 7 * DAY, step: HOUR, count: 7, unit: "day" }],
  ["1m", { seconds: 30 * DAY, step: 3 * HOUR, count: 30, unit: "day" }],
  ["1y", { seconds: 365 * DAY, step: 2 * DAY, count: 12, unit: "month" }],
]);

/** The span of a name; without one, or with an unknown one, a day. @param {string | null} name */
export const spanOf = (name) => SPANS.get(name) ?? /** @type {Span} */ (SPANS.get("1d"));

/** The step for a history that is too short for the span's: for as many points as fit. @param {Mark[]} marks @param {Span} span */
export function finerStep(marks, { step }) {
  const seconds = marks.length > 0 ? marks[marks.length - 1][0] - marks[0][0] + step : 0;
  return Math.min(step, Math.max(FINE, Math.ceil(seconds / POINTS / FINE) * FINE));
}

/** The time without a mark that is a gap, in seconds: as on the dashboard, more than a few steps. @param {number} step */
export const gapOf = (step) => Math.max(SHORT_GAP, 3.5 * step);

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
 * An SVG path through at least two marks. It is interrupted where there is none for longer than gap seconds; a mark that is
 * alone is a piece without length, which round ends make a dot.
 * @param {Mark[]} marks @param {number} width @param {number} height @param {number} [gap]
 */
export function linePath(marks, width, height, gap = Infinity) {
  const prices = marks.map(([, price]) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const [middle, span] = [(low + high) / 2, Math.max(high - low, MIN_SPAN * high)];
  const [from, to] = [marks[0][0], marks[marks.length - 1][0]];
  const x = (/** @type {number} */ t) => round(((t - from) / (to - from)) * width);
  const y = (/** @type {number} */ p) => round(height / 2 - ((p - middle) / span) * (height - 4)); // margin for the line width
  const begins = (/** @type {number} */ i) => i === 0 || marks[i][0] - marks[i - 1][0] > gap;
  const isAlone = (/** @type {number} */ i) => begins(i) && (i + 1 === marks.length || begins(i + 1));
  return marks.map(([t, price], i) => `${begins(i) ? "M" : "L"}${x(t)} ${y(price)}${isAlone(i) ? "h0" : ""}`).join("");
}

/** @param {number} v */
const round = (v) => Math.round(v * 10) / 10;
