// @ts-check
// Tests of the payments by amount at a price.

import assert from "node:assert/strict";
import test from "node:test";
import { Ladder, binOf } from "../../../edge/web/static/ladder.js";

const PRICE = 50_000;
const RUNGS = [5, 10, 20, 50, 100, 200, 500, 1000];
const STEP = 9 / 2304;
const BINS = 640;

/** Payments of which 100 are on each rung at the price, over ten in each bin. */
function payments() {
  const from = (3.55 / PRICE) * 1e8;
  const counts = Array.from({ length: BINS }, () => 10);
  for (const usd of RUNGS) counts[Math.floor(binOf({ from, step: STEP }, (usd / PRICE) * 1e8))] += 100;
  return new Ladder({ from, step: STEP, counts, expected: Array.from({ length: BINS }, () => 10) }, RUNGS);
}

test("round amounts stand out at the price, and at no other", () => {
  const ladder = payments();
  assert.equal(ladder.all, 10 * BINS + 100 * RUNGS.length);
  const { round, expected } = ladder.at(PRICE);
  assert.ok(Math.abs(expected - 15 * RUNGS.length) < 1e-6, `${expected}`);
  assert.ok(round - expected > 75 * RUNGS.length, `${round} round payments`);
  for (const change of [-0.1, -0.05, -0.02, 0.02, 0.05, 0.1]) {
    assert.ok(Math.abs(ladder.ratio(PRICE * (1 + change)) - 1) < 1e-6, `${change}: ${ladder.ratio(PRICE * (1 + change))}`);
  }
});

test("the amounts of the bars are dollars at the price, and move with it", () => {
  const ladder = payments();
  const bars = ladder.bars(PRICE, { from: 4, to: 1000 });
  assert.ok(bars.every((b) => b.from >= 4 && b.to <= 1000 && b.from < b.to));
  const highest = bars.filter((b) => b.count > 50);
  assert.deepEqual(highest.map((b) => RUNGS.find((r) => r >= b.from && r < b.to)), RUNGS.slice(0, -1));
  assert.ok(highest.every((b) => b.isRound));
  const shifted = ladder.bars(PRICE * 1.05, { from: 4, to: 1000 }).filter((b) => b.count > 50);
  assert.ok(shifted.every((b) => !b.isRound));
});

test("amounts beyond the bins count as none", () => {
  const ladder = new Ladder({ from: 1000, step: STEP, counts: [3, 4], expected: [1, 1] }, RUNGS);
  assert.deepEqual(ladder.at(PRICE), { round: 0, expected: 0 });
  assert.equal(ladder.ratio(PRICE), 0);
});
