// @ts-check
// Tests of alerts: what a reader types, and what a price crosses.

import assert from "node:assert/strict";
import test from "node:test";
import { crossed, parsePrice } from "../../../edge/web/static/alerts.js";

test("a price is read as people type it", () => {
  for (const [text, want] of /** @type {[string, number][]} */ ([
    ["100000", 100_000], ["100,000", 100_000], ["100.000", 100_000], ["$100,000.50", 100_000.5], ["100.000,5", 100_000.5], ["100 000", 100_000],
    ["1,234,567", 1_234_567], ["99.5", 99.5], ["99,50 $", 99.5], ["100’000", 100_000], [" 42 ", 42], ["$1,17,234", 117_234], ["１００", 100], ["١١٧٬٢٣٤٫٥", 117_234.5], ["१,१७,२३४", 117_234],
    ["\u200e$117,234", 117_234],
  ])) {
    assert.equal(parsePrice(text), want, text);
  }
  for (const text of ["", "0", "-5", "abc", "1e9", "NaN", "1.2.3", "12,34,56", "1000000000000", "<b>1</b>", "0,500", "0.001"]) {
    assert.ok(Number.isNaN(parsePrice(text)), `${text}: ${parsePrice(text)}`);
  }
});

test("a price crosses an alert in either direction, once", () => {
  /** @type {import("../../../edge/web/static/alerts.js").Alert[]} */
  const alerts = [{ price: 5000, above: false }, { price: 4000, above: true }, { price: 4000, above: true }];
  assert.deepEqual(crossed(alerts, 4500, 1), []);
  assert.deepEqual(crossed(alerts, 5000, 2), [], "reached, not crossed");
  assert.deepEqual(crossed(alerts, 5001, 3), [{ price: 5000, above: false, crossedAt: 3 }]);
  assert.deepEqual(crossed(alerts, 4999, 4), []);
  assert.equal(crossed(alerts, 3999, 5).length, 2);
  assert.equal(crossed(alerts, 4001, 6).length, 0);
});
