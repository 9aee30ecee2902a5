// @ts-check
// Axes: their ends and ticks. Pure.

const MINUTE = 60;
const HOUR = 3600;

/** Spans of the time axis, in seconds. */
export const TIME_SPANS = [0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50].map((m) => m * MINUTE)
  .concat([1, 1.5, 2, 3, 4, 6, 9, 12, 24, 48, 96, 192, 384].map((h) => h * HOUR));

/** Half the height of the price axis, as a share of the estimate. */
export const PRICE_SPANS = [0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1];

const TIME_STEPS = [5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR];

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

/**
 * Round values from low to high, at most maxCount.
 * @param {number} low @param {number} high @param {number} maxCount
 */
export function roundTicks(low, high, maxCount) {
  const minStep = (high - low) / Math.max(1, maxCount);
  const decade = 10 ** Math.floor(Math.log10(minStep));
  const step = decade * ([1, 2, 5].find((m) => m * decade >= minStep) ?? 10);
  return multiples(low, high, step, 0);
}

/**
 * Clock times from low to high, in unix seconds, at most maxCount, and the step between them.
 * @param {number} low @param {number} high @param {number} maxCount
 * @param {number} zone seconds that UTC is ahead of the reader's time zone
 */
export function timeTicks(low, high, maxCount, zone) {
  const minStep = (high - low) / Math.max(1, maxCount);
  const step = TIME_STEPS.find((s) => s >= minStep) ?? 24 * HOUR * Math.ceil(minStep / (24 * HOUR));
  return { step, ticks: multiples(low, high, step, zone) };
}

/** @param {number} low @param {number} high @param {number} step @param {number} offset */
function multiples(low, high, step, offset) {
  const found = [];
  for (let i = Math.ceil((low - offset) / step); i * step + offset <= high; i++) found.push(i * step + offset);
  return found;
}

/**
 * The quantile of values; 0 if there are none. It sorts them.
 * @param {Float64Array} values @param {number} share
 */
export function quantile(values, share) {
  const sorted = values.sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
