// @ts-check
// Tests of the axes: their ticks, and what the price axis shows.
import assert from "node:assert/strict";
import test from "node:test";
import { UNSURE, logTicks, priceAxis, priceSpan, timeTicks } from "../../../edge/web/static/scale.js";

const DAY = 86400;
/** @param {string} date */
const unix = (date) => Date.parse(date) / 1000;
/** @param {number[]} ticks */
const dates = (ticks) => ticks.map((t) => new Date(t * 1000).toISOString().slice(0, 16).replace("T00:00", ""));

test("logarithmic ticks are 1, 2 and 5 of each decade", () => {
  assert.deepEqual(logTicks(40, 6000, 9), [50, 100, 200, 500, 1000, 2000, 5000]);
});

test("logarithmic ticks are more within a decade, and fewer on many", () => {
  assert.deepEqual(logTicks(1100, 8000, 12), [1500, 2000, 3000, 4000, 5000, 7000]);
  assert.deepEqual(logTicks(0.5, 2e6, 9), [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]);
});

test("there are several ticks even if the prices differ by less than a factor of three", () => {
  assert.deepEqual(logTicks(40_000, 90_000, 6), [40_000, 50_000, 60_000, 70_000, 80_000, 90_000]);
});

const utc = () => 0;

/** Berlin: one hour ahead of UTC, in summer two. @param {number} t */
const berlin = (t) => (t >= unix("2026-03-29T01:00Z") && t < unix("2026-10-25T01:00Z") ? -7200 : -3600);

test("days begin at midnight on both sides of a change of the clock", () => {
  const { step, ticks } = timeTicks(unix("2026-03-28T00:00Z"), unix("2026-03-31T00:00Z"), 4, berlin);
  assert.equal(step, DAY);
  assert.deepEqual(dates(ticks), ["2026-03-28T23:00", "2026-03-29T22:00", "2026-03-30T22:00"]);
});

test("months begin on their first day, also in the reader's time zone", () => {
  assert.deepEqual(dates(timeTicks(unix("2025-12-20"), unix("2026-03-20"), 5, utc, 25 * DAY).ticks), ["2026-01-01", "2026-02-01", "2026-03-01"]);
  assert.deepEqual(dates(timeTicks(unix("2026-03-20"), unix("2026-05-20"), 4, berlin, 25 * DAY).ticks), ["2026-03-31T22:00", "2026-04-30T22:00"]);
});

test("ten years have ticks every year or two, from January on", () => {
  const [from, to] = [unix("2016-05-05"), unix("2026-05-05")];
  assert.deepEqual(dates(timeTicks(from, to, 11, utc).ticks), Array.from({ length: 10 }, (_, i) => `${2017 + i}-01-01`));
  assert.deepEqual(dates(timeTicks(from, to, 6, utc).ticks), ["2018-01-01", "2020-01-01", "2022-01-01", "2024-01-01", "2026-01-01"]);
});

/**
 * The price axis of a price of 5000, as shares of it.
 * @param {{low?: number, high?: number, line?: [number, number], points?: number[]}} shown also as shares
 */
function axisOf({ low = 1, high = 1, line = [Infinity, 0], points = [] }) {
  const shown = { price: 5000, low: 5000 * low, high: 5000 * high, line: { low: 5000 * line[0], high: 5000 * line[1] }, points: Float64Array.from(points) };
  const axis = priceAxis(shown, priceSpan(shown, 0));
  return [axis.low / 5000, axis.high / 5000];
}

/** Points on the price, and every twentieth at a distance. @param {number} distance */
const pointsUpTo = (distance) => Array.from({ length: 400 }, (_, i) => 1 + (i % 20 === 0 ? distance : 0.3 * distance) * (i % 2 ? 1 : -1));

test("the interval of a cold start does not flatten the points", () => {
  const [low, high] = axisOf({ low: 0.5, high: 2, points: pointsUpTo(0.09) });
  assert.ok(low >= 0.87 && high <= 1.13, `from ${low} to ${high}`);
});

test("a calm hour is shown from near", () => {
  const [low, high] = axisOf({ low: 0.998, high: 1.002, line: [0.999, 1.001], points: pointsUpTo(0.01) });
  assert.ok(low > 0.985 && low < 0.998 && high < 1.015 && high > 1.002, `from ${low} to ${high}`);
});

test("a move of 12 % is shown whole, with a margin", () => {
  const [low, high] = axisOf({ low: 0.995, high: 1.005, line: [0.88, 1], points: pointsUpTo(0.05) });
  assert.ok(low < 0.88 && low > 0.82 && high >= 1.005 && high < 1.1, `from ${low} to ${high}`);
});

test("a second price at 8 % is within the axis, one at the double is not", () => {
  assert.ok(axisOf({ low: 0.97, high: 1.08, points: pointsUpTo(0.04) })[1] >= 1.08);
  assert.ok(axisOf({ low: 0.97, high: 2, points: pointsUpTo(0.04) })[1] <= 1.13);
});

test("without points and line the axis shows the interval, and something around an exact price", () => {
  const [low, high] = axisOf({ low: 0.99, high: 1.01 });
  assert.ok(low < 0.99 && high > 1.01, `from ${low} to ${high}`);
  assert.ok(axisOf({})[0] < 1 && axisOf({})[1] > 1);
});

test("a point far away does not count", () => {
  assert.deepEqual(axisOf({ points: [1, 1, 1, 3] }), axisOf({ points: [1, 1, 1] }));
  assert.ok(UNSURE > 1 && UNSURE < 2, "the interval of a cold start is a factor of two");
});
