// @ts-check
import assert from "node:assert/strict";
import test from "node:test";

import { finerStep, gapOf, linePath, spanOf, withMark } from "../../../edge/web/static/sparkline.js";

/** @typedef {import("../../../edge/web/static/sparkline.js").Mark} Mark */

test("withMark keeps the newest mark of each step and drops old ones", () => {
  /** @type {Mark[]} */ let marks = [];
  for (let t = 95; t <= 130; t += 5) marks = withMark(marks, [t, t], 10, 30);
  assert.deepEqual(marks.map(([t]) => t), [105, 115, 125, 130]);
  assert.equal(withMark(marks, [130, 1], 10, 30), marks, "a mark of the same time is ignored");
  assert.equal(withMark(marks, [120, 1], 10, 30), marks, "an older mark is ignored");
});

test("withMark adds the second mark at once", () => {
  assert.equal(withMark([[100, 1]], [100.5, 2], 10, 60).length, 2);
});

test("linePath spans the width, and puts higher prices higher", () => {
  assert.equal(linePath([[0, 100], [50, 200], [100, 150]], 300, 60), "M0 58L150 2L300 30");
});

test("linePath draws a constant price as a level line in the middle", () => {
  assert.equal(linePath([[0, 5000], [10, 5000]], 300, 60), "M0 30L300 30");
});

test("linePath is interrupted by gaps, and shows a mark between two of them", () => {
  /** @type {Mark[]} */ const marks = [[0, 100], [10, 100], [100, 200], [190, 100], [200, 100]];
  assert.equal(linePath(marks, 200, 60, 50), "M0 58L10 58M100 2h0M190 58L200 58");
  assert.equal(linePath(marks, 200, 60, 90), "M0 58L10 58L100 2L190 58L200 58", "no longer than a gap");
});

test("a span has at most 300 points, and an unknown one is a day", () => {
  for (const name of ["3h", "1d", "1w", "1m", "1y"]) {
    const { seconds, step } = spanOf(name);
    assert.ok(seconds / step <= 300 && seconds / step > 100, name);
  }
  for (const name of [null, "", "2d", "__proto__"]) assert.equal(spanOf(name).seconds, 86_400, `${name}`);
});

test("a short history has steps for 300 points, none finer than the history's", () => {
  const day = spanOf("1d");
  assert.equal(finerStep([], day), 10);
  assert.equal(finerStep([[0, 1]], day), 10);
  assert.equal(finerStep([[0, 1], [8100, 1]], day), 30);
  assert.equal(finerStep([[0, 1], [500_000, 1]], day), 300, "never coarser than the span's");
});

test("a gap is longer than some steps, and than two minutes", () => {
  assert.deepEqual([10, 300].map(gapOf), [150, 1050]);
});
