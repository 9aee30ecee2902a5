// @ts-check
// Tests of the axes' ticks.
import assert from "node:assert/strict";
import test from "node:test";
import { logTicks, timeTicks } from "../../../edge/web/static/scale.js";

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
