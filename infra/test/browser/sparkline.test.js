// @ts-check
import assert from "node:assert/strict";
import test from "node:test";

import { linePath, withPoint } from "../../../edge/web/static/sparkline.js";

/** @typedef {import("../../../edge/web/static/sparkline.js").Mark} Mark */

test("a course keeps the newest point of each step, and nothing that is too old", () => {
  /** @type {Mark[]} */ let course = [];
  for (let t = 95; t <= 130; t += 5) course = withPoint(course, [t, t], 10, 30);
  assert.deepEqual(course.map(([t]) => t), [105, 115, 125, 130]);
  assert.equal(withPoint(course, [130, 1], 10, 30), course, "nothing newer");
  assert.equal(withPoint(course, [120, 1], 10, 30), course, "another edge is behind");
});

test("the second point is there at once", () => {
  assert.equal(withPoint([[100, 1]], [100.5, 2], 10, 60).length, 2);
});

test("a line goes from edge to edge, and higher is up", () => {
  assert.equal(linePath([[0, 100], [50, 200], [100, 150]], 300, 60), "M0 58L150 2L300 30");
});

test("a price that stands still is a level line in the middle", () => {
  assert.equal(linePath([[0, 5000], [10, 5000]], 300, 60), "M0 30L300 30");
});
