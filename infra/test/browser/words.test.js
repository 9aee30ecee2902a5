// @ts-check
// What is asked and said only now and then. By a clock of its own, so nothing waits.
import assert from "node:assert/strict";
import test from "node:test";
import { Amounts } from "../../../edge/web/static/amounts.js";
import { Announcer } from "../../../edge/web/static/announcer.js";
import { dollars } from "../../../edge/web/static/format.js";
import { Points } from "../../../edge/web/static/points.js";

/** @typedef {import("../../../edge/web/static/points.js").Round} Round */
/** @typedef {import("../../../edge/web/static/state.js").State} State */

/**
 * A page with one point a second, and the edge that it asks, which tells of the points up to knows.
 * @param {import("node:test").TestContext} t @param {number} count of points
 */
function page(t, count) {
  const apis = ["setTimeout"];
  t.mock.timers.enable(/** @type {any} */ (process.version.startsWith("v18.") ? apis : { apis })); // Debian 12 has 18
  let now = 0;
  const points = new Points();
  points.follow(Array.from({ length: count }, (_, i) => ({ timestamp: i + 0.5, price: 5000 })));
  const p = {
    points, knows: count, wanted: /** @type {number | null} */ (null), learned: 0,
    asked: /** @type {{path: string, at: number}[]} */ ([]),
    /** @param {number} ms @returns {Promise<void>} */
    async pass(ms) {
      for (const end = now + ms; now < end;) {
        const step = Math.min(100, end - now);
        now += step;
        t.mock.timers.tick(step);
        await new Promise(setImmediate); // what was waited for goes on
      }
    },
  };
  /** @param {string} path */
  const ask = async (path) => {
    p.asked.push({ path, at: now });
    return Array.from({ length: p.knows }, (_, i) => /** @type {Round} */ ([i + 0.5, 5000, 20]));
  };
  const wanted = () => p.wanted !== null && points.isOpen(p.wanted);
  return Object.assign(p, { amounts: new Amounts(points, wanted, () => p.learned++, { ask, now: () => now }) });
}

test("one question tells of all points", async (t) => {
  const p = page(t, 1500);
  await p.amounts.update();
  assert.deepEqual(p.asked, [{ path: "api/v1/points?since=500", at: 0 }]); // the first of the newest 1000 is of 500.5
  assert.deepEqual([p.points.amount(499), p.points.amount(500), p.points.amount(1499), p.learned], [20, 20, 20, 1]);
  p.wanted = 700;
  await p.amounts.find();
  await p.pass(10_000);
  assert.equal(p.asked.length, 1, "it asked for what it knew");
});

test("a point that the edge does not know yet is asked for again, once a second", async (t) => {
  const p = page(t, 10);
  [p.knows, p.wanted] = [8, 9];
  p.amounts.find();
  await p.pass(900);
  assert.deepEqual(p.asked.map(({ at }) => at), [0]);
  p.knows = 10;
  p.amounts.find(); // the reader points at it again, and again
  p.amounts.find();
  await p.pass(900);
  assert.deepEqual(p.asked, [{ path: "api/v1/points?since=0", at: 0 }, { path: "api/v1/points?since=8", at: 1000 }]);
  assert.equal(p.points.amount(9), 20);
});

test("it gives up on a point that no edge knows, until a reader asks anew", async (t) => {
  const p = page(t, 10);
  [p.knows, p.wanted] = [8, 9];
  p.amounts.find();
  await p.pass(60_000);
  assert.deepEqual(p.asked.map(({ at }) => at), [0, 1000, 2000]);
  p.amounts.find();
  await p.pass(500);
  assert.equal(p.asked.length, 4);
});

test("nobody waits any more: no question", async (t) => {
  const p = page(t, 10);
  [p.knows, p.wanted] = [8, 9];
  p.amounts.find();
  await p.pass(500);
  p.wanted = null;
  await p.pass(60_000);
  assert.equal(p.asked.length, 1);
});

test("whoever asks, it is once a second", async (t) => {
  const p = page(t, 10);
  [p.knows, p.wanted] = [8, 9];
  p.amounts.find();
  for (let i = 0; i < 50; i++) {
    p.amounts.update();
    p.amounts.find();
    await p.pass(100);
  }
  assert.deepEqual(p.asked.map(({ at }) => at), [0, 1000, 2000, 3000, 4000, 5000]);
});

test("an edge that does not answer is no fault of the page", async (t) => {
  const p = page(t, 10);
  const amounts = new Amounts(p.points, () => true, () => {}, { ask: async () => null });
  await amounts.update();
  assert.equal(p.points.amount(0), 0);
});

/** @param {number} price @returns {any} */
const snapshot = (price) => ({ price, confidence: 0.97 });

/** @type {State} */
const LIVE = { name: "live", words: "live" };
/** @type {State} */
const STALE = { name: "stale", words: "stale: last update 4 s ago" };
/** @type {State} */
const CONNECTING = { name: "connecting", words: "connecting" };

test("who listens hears the first price at once, then at most every 30 s", () => {
  const announcer = new Announcer();
  const start = 1.8e12;
  assert.equal(announcer.next(null, CONNECTING, start), "");
  assert.equal(announcer.next(snapshot(5000), LIVE, start + 250), 
    `One bitcoin: ${dollars(5000)}, confidence very high. Connection: live.`);
  /** @type {number[]} */
  const said = [];
  for (let after = 500; after <= 300_000; after += 250) { // a price that jumps with each tick, a state that flaps
    const [price, state] = [after % 500 ? 5000 : 6000, after % 750 ? LIVE : STALE];
    if (announcer.next(snapshot(price), state, start + after)) said.push(after);
  }
  assert.ok(said.length >= 9, `${said.length} times in 5 min`);
  said.reduce((last, after) => {
    assert.ok(after - last >= 30_000, `said after ${last} and ${after} ms`);
    return after;
  }, 250);
});

test("a price that stays and a small move are no news; a state is", () => {
  const announcer = new Announcer();
  assert.notEqual(announcer.next(snapshot(5000), LIVE, 1e12), "");
  assert.equal(announcer.next(snapshot(5000), LIVE, 1e12 + 60_000), "");
  assert.equal(announcer.next(snapshot(5012), LIVE, 1e12 + 60_000), "", "a move of 0.24 %");
  assert.match(announcer.next(snapshot(5012), STALE, 1e12 + 60_000), /^One bitcoin: .* Connection: stale: last update 4 s ago\.$/);
  assert.ok(announcer.next(snapshot(5030), STALE, 1e12 + 90_000).includes(dollars(5030)), "a move of 0.36 %");
});

test("without a price it says how the connection is", () => {
  const announcer = new Announcer();
  assert.equal(announcer.next(null, STALE, 1e12), "Connection: stale: last update 4 s ago.");
});
