// @ts-check
import assert from "node:assert/strict";
import test from "node:test";

import { linePath, withMark } from "../../../edge/web/static/sparkline.js";

/** @typedef {import("../../../edge/web/static/sparkline.js").Mark} Mark */

test("the line has the newest mark of each step, and none that is too old", () => {
  /** @type {Mark[]} */ let marks = [];
  for (let t = 95; t <= 130; t += 5) marks = withMark(marks, [t, t], 10, 30);
  assert.deepEqual(marks.map(([t]) => t), [105, 115, 125, 130]);
  assert.equal(withMark(marks, [130, 1], 10, 30), marks, "nothing newer");
  assert.equal(withMark(marks, [120, 1], 10, 30), marks, "another edge is behind");
});

test("the second mark is added at once", () => {
  assert.equal(withMark([[100, 1]], [100.5, 2], 10, 60).length, 2);
});

test("the line spans the width, and higher prices are higher", () => {
  assert.equal(linePath([[0, 100], [50, 200], [100, 150]], 300, 60), "M0 58L150 2L300 30");
});

test("a constant price is a level line in the middle", () => {
  assert.equal(linePath([[0, 5000], [10, 5000]], 300, 60), "M0 30L300 30");
});
