// @ts-check
// Tests of the dashboard's stores without a browser: points, price history, view.
import assert from "node:assert/strict";
import test from "node:test";
import { PriceHistory } from "../../../edge/web/static/history.js";
import { MAX_POINTS, Points } from "../../../edge/web/static/points.js";
import { View } from "../../../edge/web/static/view.js";

/** @param {number} from @param {number} to @param {number} shift of all prices */
const run = (from, to, shift = 0) =>
  Array.from({ length: to - from }, (_, i) => ({ timestamp: from + i, price: 5000 + ((from + i) % 7) + shift }));

/** @param {Points} points */
const all = (points) => Array.from({ length: points.length }, (_, i) => ({ timestamp: points.time(i), price: points.price(i) }));

test("points of successive snapshots are stored once each", () => {
  const points = new Points();
  for (const first of [0, 0, 10, 500, 900]) points.update(run(first, first + 1000));
  assert.deepEqual(all(points), run(0, 1900));
});

test("points of equal time and price are distinguished by the points before them", () => {
  const points = new Points();
  const same = { timestamp: 3, price: 9 };
  points.update([...run(0, 3), same]);
  points.update([...run(1, 3), same, same, ...run(5, 6)]);
  assert.deepEqual(all(points), [...run(0, 3), same, same, ...run(5, 6)]);
});

test("a snapshot that does not continue the points replaces its own time only", () => {
  const points = new Points();
  points.update(run(0, 1000));
  points.update(run(400, 1005, 50)); // the estimate moved, and with it the implied prices
  assert.deepEqual(all(points), [...run(0, 400), ...run(400, 1005, 50)]);
  points.update(run(300, 1005)); // a snapshot from before the oldest stored point
  assert.deepEqual(all(points), run(0, 1005));
});

test("an empty snapshot removes nothing, and one after a gap is added", () => {
  const points = new Points();
  points.update(run(0, 10));
  points.update([]);
  points.update(run(5000, 5010));
  assert.deepEqual(all(points), [...run(0, 10), ...run(5000, 5010)]);
});

test("the newest 20,000 points are stored", () => {
  const points = new Points();
  for (let first = 0; first < 3 * MAX_POINTS; first += 500) points.update(run(first, first + 1000));
  assert.equal(points.length, MAX_POINTS);
  assert.deepEqual(all(points), run(3 * MAX_POINTS + 500 - MAX_POINTS, 3 * MAX_POINTS + 500));
  assert.equal(points.firstAt(points.time(77)), 77);
  assert.equal(points.firstAt(1e9), MAX_POINTS);
});

/** @param {Points} points */
const amounts = (points) => Array.from({ length: points.length }, (_, i) => points.amount(i));

test("amounts are set by time and price, in the order of equal points", () => {
  const points = new Points();
  const alike = { timestamp: 2, price: 7 };
  points.update([{ timestamp: 1, price: 5 }, alike, { timestamp: 2, price: 8 }, alike, { timestamp: 3, price: 9 }]);
  assert.deepEqual(amounts(points), [0, 0, 0, 0, 0]);
  points.setAmounts([[0.5, 5, 1000], [1, 6, 1000], [2, 7, 20], [2, 7.5, 1000], [2, 8, 2.5], [2, 7, 50], [2, 7, 1000], [9, 9, 1000]]);
  assert.deepEqual(amounts(points), [0, 20, 2.5, 50, 0]);
  points.setAmounts([]);
  points.setAmounts([[3, 9, 100]]);
  assert.deepEqual(amounts(points), [0, 20, 2.5, 50, 100]);
});

/** @param {{timestamp: number, price: number}[]} of @returns {import("../../../edge/web/static/points.js").AmountEntry[]} */
const rounds = (of) => of.map((p) => [p.timestamp, p.price, 1 + (p.timestamp % 100)]);

test("an amount stays with its point and is dropped with it", () => {
  const points = new Points();
  for (let first = 0; first < 3 * MAX_POINTS; first += 500) {
    points.update(run(first, first + 1000));
    points.setAmounts(rounds(run(first, first + 1000)));
  }
  assert.ok(amounts(points).every((amount, i) => amount === 1 + (points.time(i) % 100)));
  const { length } = points;
  points.update(run(points.time(length - 500), points.time(length - 500) + 500, 50)); // the same times, other prices
  assert.equal(points.amount(length - 501), 1 + (points.time(length - 501) % 100));
  assert.ok(amounts(points).slice(length - 500).every((amount) => amount === 0), "an amount of a dropped point");
});

test("only the newest thousand points can be without amounts", () => {
  const points = new Points();
  assert.equal(points.lackingSince, Infinity);
  points.update(run(0, 800));
  points.update(run(600, 1500));
  assert.deepEqual([points.lacksAmount(499), points.lacksAmount(500), points.lacksAmount(1499), points.lacksAmount(1500)], [false, true, true, false]);
  assert.equal(points.lackingSince, 500);
  points.setAmounts(rounds(run(0, 700)));
  assert.equal(points.lackingSince, 700);
  points.setAmounts(rounds(run(700, 1500)));
  assert.equal(points.lackingSince, Infinity);
});

/** @param {number} t */
const entry = (t, price = t) => /** @type {[number, number, number, number, number]} */ ([t, price, price - 1, price + 1, 0.9]);

/** @param {PriceHistory} history */
const times = (history) => [...history.columns[0]];

test("merged entries replace their time, live entries continue after it", () => {
  const history = new PriceHistory();
  for (const t of [95.2, 95.7, 104.1, 104.6, 105.2]) history.add(t, 7, 6, 8);
  history.merge([entry(80), entry(90), entry(100)]);
  assert.deepEqual(times(history), [80, 90, 100, 104.6, 105.2], "one each second, without duplicates");
  history.merge([entry(85, 0), entry(86), entry(94)]);
  assert.deepEqual(times(history), [80, 86, 94, 100, 104.6, 105.2], "an entry without a price is ignored");
  assert.deepEqual([history.price(1), history.low(1), history.high(1)], [86, 85, 87]);
});

test("the price at a time is that of the nearest entry within the tolerance", () => {
  const history = new PriceHistory();
  history.merge([entry(1000), entry(1060)]);
  for (const [t, price] of [[1000, 1000], [1020, 1000], [1040, 1060], [880, 1000], [879, 0], [1180, 1060], [1181, 0]]) {
    assert.equal(history.priceAt(t), price, `at ${t}`);
  }
});

test("the history stays within its capacity: it thins the older half, then drops the oldest entries", () => {
  const history = new PriceHistory();
  const seconds = 400_000;
  for (let t = 0; t < seconds; t++) history.add(t, t, t, t);
  assert.ok(history.length <= 1 << 15);
  assert.equal(history.time(history.length - 1), seconds - 1);
  assert.ok(history.time(0) < seconds - 24 * 3600, "less than a day remains");
  const kept = times(history);
  assert.ok(kept.every((t, i) => i === 0 || (t > kept[i - 1] && t - kept[i - 1] <= 10)), "a gap, or out of order");
});

test("a view follows the newest data unless a range is selected", () => {
  const view = new View();
  view.limits = { oldest: 0, now: 1000, begin: 0 };
  assert.deepEqual(view.update(100), { from: 900, to: 1000 });
  view.zoom(0.5, 1000);
  view.limits = { oldest: 0, now: 2000, begin: 0 };
  assert.deepEqual(view.update(100), { from: 950, to: 1000 });
  assert.ok(!view.following);
  view.follow(0);
  assert.deepEqual(view.update(100), { from: 1900, to: 2000 });
});

test("a view always shows some data", () => {
  const view = new View();
  view.limits = { oldest: 0, now: 1000, begin: 0 };
  view.update(100);
  view.pan(1e6);
  assert.deepEqual(view.range, { from: 905, to: 1005 });
  view.pan(-1e6);
  assert.deepEqual(view.range, { from: -75, to: 25 });
  for (let i = 0; i < 50; i++) view.zoom(2, view.range.to);
  assert.equal(view.range.to - view.range.from, 1100);
  for (let i = 0; i < 50; i++) view.zoom(0.5, view.range.to);
  assert.equal(view.range.to - view.range.from, 10);
});

test("a view of the newest range follows it, from the beginning of the history on", () => {
  const view = new View();
  view.follow(500);
  view.limits = { oldest: 900, now: 1000, begin: 0 };
  assert.deepEqual(view.update(100), { from: 500, to: 1000 }, "the beginning is not known yet");
  assert.ok(view.following && !view.live && !view.isCut);
  view.limits = { oldest: 700, now: 1010, begin: 700 };
  assert.deepEqual(view.update(100), { from: 700, to: 1010 });
  assert.ok(view.isCut);
  view.follow(200);
  assert.deepEqual(view.update(100), { from: 810, to: 1010 });
  assert.ok(!view.isCut);
  view.follow(Infinity);
  assert.deepEqual(view.update(100), { from: 700, to: 1010 });
  view.pause();
  assert.ok(!view.following && view.paused);
  view.follow(view.span);
  assert.ok(view.following && !view.paused);
});
