// @ts-check
// Tests of what is loaded of the history before the last day, and of the line that is drawn from it.
import assert from "node:assert/strict";
import test from "node:test";
import { PriceHistory } from "../../../edge/web/static/history.js";
import { Past, gapOf, stepFor } from "../../../edge/web/static/past.js";

/** @typedef {import("../../../edge/web/static/history.js").Entry} Entry */

const [HOUR, DAY] = [3600, 86400];
const NOW = 20_000 * DAY;

/** @param {number} t @returns {Entry} */
const entry = (t) => [t, 5000 + (t % 97), 4900, 5200, 0.9];

/**
 * An edge whose history has an entry each hour, from begin on.
 * @param {number} begin
 */
function edgeFrom(begin) {
  const edge = {
    /** @type {string[]} */ queries: [],
    fails: false,
    loads: 0,
    /** @param {string} query */
    async load(query) {
      edge.queries.push(query);
      if (edge.fails) return null;
      const q = new URLSearchParams(query);
      let step = Math.max(HOUR, Number(q.get("step")));
      const [from, to] = [Math.max(begin, Number(q.get("from"))), Number(q.get("to") ?? NOW)];
      while ((to - from) / step > 2000) step *= 2;
      const points = [];
      for (let t = Math.ceil(from / HOUR) * HOUR; t <= to; t += step) points.push(entry(t));
      return { step, points };
    },
  };
  const past = new Past(edge.load, () => edge.loads++);
  /** Asks until nothing is missing, as the page does. @param {number} from @param {number} to */
  const need = async (from, to = NOW, { now = NOW, recent = NOW - DAY, margin = 0 } = {}) => {
    for (let i = 0; i < 9 && past.missing({ from, to }, now, recent); i++) await past.need({ from, to }, now, recent, margin);
    return edge.queries.splice(0);
  };
  return { edge, past, need };
}

test("a range has 400 to 1000 entries", () => {
  for (const days of [1, 7, 30, 90, 365.25, 1000]) {
    const count = (days * DAY) / stepFor(days * DAY);
    assert.ok(count >= 400 && count <= 1000, `${days} days: ${count}`);
  }
});

test("a range is loaded once, and again after some minutes", async () => {
  const { need } = edgeFrom(NOW - 3000 * DAY);
  assert.deepEqual(await need(NOW - 7 * DAY), [`from=${NOW - 7 * DAY}&step=900`]);
  assert.deepEqual(await need(NOW - 7 * DAY), []);
  assert.deepEqual(await need(NOW - 30 * DAY), [`from=${NOW - 30 * DAY}&step=3600`]);
  assert.deepEqual(await need(NOW - 7 * DAY + 60, NOW + 60, { now: NOW + 60 }), []);
  assert.equal((await need(NOW - 7 * DAY + 400, NOW + 400, { now: NOW + 400 })).length, 1);
});

test("what the last day has is not loaded", async () => {
  const { need } = edgeFrom(NOW - 3000 * DAY);
  assert.deepEqual(await need(NOW - DAY), []);
  assert.deepEqual(await need(NOW - 3 * HOUR, NOW - 2 * HOUR), []);
});

test("all of the history is asked for with the finest step, which the edge raises", async () => {
  const { need, past } = edgeFrom(NOW - 3000 * DAY);
  assert.deepEqual(await need(0), ["from=0&step=10"]);
  assert.equal(past.begin, NOW - 3000 * DAY);
  assert.deepEqual(await need(past.begin), []);
});

test("if a range begins late, the beginning of the history is looked for", async () => {
  const { need, past } = edgeFrom(NOW - 5 * DAY);
  assert.deepEqual(await need(NOW - 30 * DAY), [`from=${NOW - 30 * DAY}&step=3600`, "from=0&step=10"]);
  assert.equal(past.begin, NOW - 5 * DAY);
  assert.deepEqual(await need(past.begin), [], "the range from the beginning is a part of it");
  assert.deepEqual(await need(NOW - 400 * DAY, NOW - 300 * DAY), [], "there is nothing before the beginning");
});

test("a range of the reader's is loaded with a margin", async () => {
  const { need } = edgeFrom(NOW - 3000 * DAY);
  const [from, to] = [NOW - 100 * DAY, NOW - 90 * DAY];
  assert.deepEqual(await need(from, to, { margin: 5 * DAY }), [`from=${from - 5 * DAY}&to=${to + 5 * DAY}&step=900`]);
  assert.deepEqual(await need(from - 4 * DAY, to - 4 * DAY, { margin: 5 * DAY }), []);
});

test("a failed request is repeated after some seconds", async () => {
  const { edge, past } = edgeFrom(NOW - 3000 * DAY);
  const ask = (/** @type {number} */ now) => past.need({ from: NOW - 7 * DAY, to: now }, now, NOW - DAY, 0);
  edge.fails = true;
  await ask(NOW);
  assert.deepEqual([past.state, edge.loads], ["failed", 1]);
  await ask(NOW + 5);
  assert.equal(edge.queries.length, 1);
  edge.fails = false;
  await ask(NOW + 20);
  assert.deepEqual([past.state, edge.queries.length], ["", 2]);
});

/** A last day with an entry a minute until now. */
function lastDay() {
  const history = new PriceHistory();
  history.merge(Array.from({ length: 1440 }, (_, i) => entry(NOW - DAY + 60 * (i + 1))));
  return history;
}

test("the line is of the loaded part, and ends with the newest price", async () => {
  const { need, past } = edgeFrom(NOW - 3000 * DAY);
  await need(NOW - 7 * DAY);
  const history = lastDay();
  history.add(NOW + 50, 7000, 6900, 7100);
  const line = past.line({ from: NOW - 7 * DAY, to: NOW + 50 }, NOW + 50, history);
  assert.equal(line.time(0), NOW - 7 * DAY);
  assert.deepEqual([line.time(line.length - 1), line.price(line.length - 1)], [NOW + 50, 7000]);
  const times = [...line.columns[0]];
  assert.ok(times.every((t, i) => i === 0 || t > times[i - 1]), "out of order");
  assert.ok(times.length < 1000, `${times.length} entries`);
});

test("before anything is loaded, the line is of the last day, thinned", () => {
  const { past } = edgeFrom(NOW - 3000 * DAY);
  const line = past.line({ from: NOW - 7 * DAY, to: NOW }, NOW, lastDay());
  assert.ok(line.length > 90 && line.length < 100, `${line.length} entries`);
  assert.equal(line.time(line.length - 1), NOW);
});

test("at most eight parts are kept, and the last shown are", async () => {
  const { need, past } = edgeFrom(NOW - 3000 * DAY);
  const week = { from: NOW - 1000 * DAY, to: NOW - 993 * DAY };
  await need(week.from, week.to);
  for (let i = 1; i < 12; i++) {
    past.line(week, NOW, lastDay());
    await need(NOW - 900 * DAY + 20 * i * DAY, NOW - 890 * DAY + 20 * i * DAY);
  }
  assert.deepEqual(await need(week.from, week.to), []);
  assert.equal((await need(NOW - 880 * DAY, NOW - 870 * DAY)).length, 1, "the first of the others is still there");
});

test("a gap is longer than a few steps, and than what is usual at that age", () => {
  assert.equal(gapOf(HOUR, 0), 150);
  assert.equal(gapOf(HOUR, 120), 420);
  assert.ok(gapOf(5 * DAY, 120) > 2 * HOUR, "an hour or two without a block is no gap");
  assert.ok(gapOf(100 * DAY, 900) > 3 * HOUR);
  assert.ok(gapOf(1000 * DAY, 900) > 3 * DAY);
});
