// @ts-check
import assert from "node:assert/strict";
import test from "node:test";

import { linePath, withMark } from "../../../edge/web/static/sparkline.js";

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
