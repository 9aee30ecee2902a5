// @ts-check
// Axes: their ends and ticks. Pure.

const MINUTE = 60;
const HOUR = 3600;

/** Spans of the time axis, in seconds. */
export const TIME_SPANS = [0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50].map((m) => m * MINUTE)
  .concat([1, 1.5, 2, 3, 4, 6, 9, 12, 24, 48, 96, 192, 384].map((h) => h * HOUR));

/** Half the height of the price axis, as a share of the estimate. */
export const PRICE_SPANS = [0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1];

const DAY = 24 * HOUR;
export const YEAR = 365.25 * DAY;
export const MONTH = YEAR / 12;

const TIME_STEPS = [5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY];
const MONTH_STEPS = [1, 2, 3, 6, 12, 24, 60, 120];

/** The leading digits of logarithmic ticks, and the least distance between two of them in decades. */
const LOG_TICKS = [
  { digits: [1, 1.5, 2, 3, 4, 5, 7], distance: Math.log10(5 / 4) },
  { digits: [1, 2, 5], distance: Math.log10(2) },
  { digits: [1], distance: 1 },
];

/**
 * The smallest of spans that is at least needed. The current one stays until it is clearly too large, so that the axis
 * does not change with every point.
 * @param {number[]} spans rising
 * @param {number} needed
 * @param {number} current 0 if there is none
 */
export function steadySpan(spans, needed, current) {
  const fit = spans.find((s) => s >= needed) ?? spans[spans.length - 1];
  return fit < current && needed > 0.9 * fit ? current : fit;
}

/** The share of the price within which points and intervals can widen the axis: a cold start has them anywhere. */
const NEAR = 0.1;
const FRAMED = 0.9; // the share of the near points that the axis includes; the rest are outliers
const BAND_MARGIN = 1.5; // the axis includes this multiple of the interval
const LINE_MARGIN = 0.5; // of half the axis: the least distance between its ends and the line

/** An interval that is wider than this factor is a guess: its price does not widen the axis. */
export const UNSURE = 1.5;

/**
 * What the price axis of a range must show.
 * @typedef {object} Shown
 * @property {number} price at the middle of the axis, unless the line has moved far
 * @property {number} low @property {number} high of its interval; equal to the price if the interval does not matter
 * @property {{low: number, high: number}} line the lowest and highest sure price; low is above high if there is none
 * @property {Float64Array} points a sample of the points, at most SAMPLE: multiples of the price when they were seen
 */

/** The number of points that the fitting of the price axis examines. */
export const SAMPLE = 512;

const distances = new Float64Array(SAMPLE); // reused: the axis is fitted in every frame

/**
 * Half the height of a price axis around the price, as a share of it. It shows the interval and most points, as far as
 * they are near the price.
 * @param {Shown} shown @param {number} current the one before, 0 if there is none
 */
export function priceSpan({ price, low, high, points }, current) {
  let near = 0;
  for (let i = 0; i < points.length; i++) {
    const distance = Math.abs(points[i] - 1);
    if (distance <= NEAR) distances[near++] = distance;
  }
  const framed = quantile(distances.subarray(0, near), FRAMED);
  const band = Math.min(NEAR, BAND_MARGIN * Math.max(high / price - 1, 1 - low / price));
  return steadySpan(PRICE_SPANS, Math.max(framed, band), current);
}

/**
 * The ends of a price axis: the span around the price, and the whole line.
 * @param {Shown} shown @param {number} span as priceSpan has it
 */
export function priceAxis({ price, line }, span) {
  const margin = LINE_MARGIN * span;
  return {
    low: Math.min(price * (1 - span), line.low * (1 - margin)),
    high: Math.max(price * (1 + span), line.high * (1 + margin)),
  };
}

/**
 * Round values from low to high, at most maxCount.
 * @param {number} low @param {number} high @param {number} maxCount
 */
export function roundTicks(low, high, maxCount) {
  const minStep = (high - low) / Math.max(1, maxCount);
  const decade = 10 ** Math.floor(Math.log10(minStep));
  const step = decade * ([1, 2, 5].find((m) => m * decade >= minStep) ?? 10);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

/**
 * Round values on a logarithmic axis from low to high: 1, 2 and 5 in each decade, or as many as leave room.
 * @param {number} low above 0 @param {number} high @param {number} maxCount that fit into the axis at equal distances
 */
export function logTicks(low, high, maxCount) {
  if (high < 3 * low) return roundTicks(low, high, maxCount); // nearly even, and more than one of them
  const minDistance = Math.log10(high / low) / Math.max(1, maxCount);
  const { digits } = LOG_TICKS.find((t) => t.distance >= minDistance) ?? LOG_TICKS[LOG_TICKS.length - 1];
  const found = [];
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10) {
    found.push(...digits.map((d) => d * decade).filter((v) => v >= low && v <= high));
  }
  return found;
}

/**
 * Clock times, days, or first days of months, from low to high in unix seconds, at most maxCount, and the step between
 * them.
 * @param {number} low @param {number} high @param {number} maxCount
 * @param {(t: number) => number} offsetAt seconds that UTC is ahead of the reader's time zone
 * @param {number} [leastStep] seconds
 */
export function timeTicks(low, high, maxCount, offsetAt, leastStep = 0) {
  const minStep = Math.max(leastStep, (high - low) / Math.max(1, maxCount));
  const step = TIME_STEPS.find((s) => s >= minStep);
  const months = MONTH_STEPS.find((m) => m * MONTH >= minStep) ?? 12 * Math.ceil(minStep / YEAR);
  const first = new Date((low - offsetAt(low)) * 1000);
  const firstMonth = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
  const firstStep = step ? Math.floor(first.getTime() / 1000 / step) : 0;
  const shown = (/** @type {number} */ i) => (step ? (firstStep + i) * step : Date.UTC(1970, firstMonth + i * months - 1970 * 12, 1) / 1000);
  /** @type {number[]} */ const ticks = [];
  for (let i = 0, t = 0; (t = unixOf(shown(i), offsetAt)) <= high; i++) if (t >= low && t !== ticks.at(-1)) ticks.push(t);
  return { step: step ?? months * MONTH, ticks };
}

/**
 * The unix time at which a clock in the reader's time zone shows a time, given as if it were in UTC.
 * @param {number} shown @param {(t: number) => number} offsetAt
 */
const unixOf = (shown, offsetAt) => shown + offsetAt(shown + offsetAt(shown));

/**
 * The quantile of values; 0 if there are none. It sorts them.
 * @param {Float64Array} values @param {number} share
 */
export function quantile(values, share) {
  const sorted = values.sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
