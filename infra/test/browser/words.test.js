// @ts-check
// Tests of the amounts' requests and the announcer, with mocked timers.
import assert from "node:assert/strict";
import test from "node:test";
import { Amounts } from "../../../edge/web/static/amounts.js";
import { Announcer } from "../../../edge/web/static/announcer.js";
import { dollars } from "../../../edge/web/static/format.js";
import { Points } from "../../../edge/web/static/points.js";

/** @typedef {import("../../../edge/web/static/points.js").AmountEntry} AmountEntry */
/** @typedef {import("../../../edge/web/static/state.js").State} State */

/**
 * A page with one point a second, and an edge that has the amounts of the first p.knows points.
 * @param {import("node:test").TestContext} t @param {number} count of points
 */
function page(t, count) {
  const apis = ["setTimeout"];
  t.mock.timers.enable(/** @type {any} */ (process.version.startsWith("v18.") ? apis : { apis })); // Debian 12 has 18
  let now = 0;
  const points = new Points();
  points.update(Array.from({ length: count }, (_, i) => ({ timestamp: i + 0.5, price: 5000 })));
  const p = {
    points, knows: count, needed: /** @type {number | null} */ (null), updates: 0,
    requests: /** @type {{path: string, at: number}[]} */ ([]),
    /** @param {number} ms @returns {Promise<void>} */
    async pass(ms) {
      for (const end = now + ms; now < end;) {
        const step = Math.min(100, end - now);
        now += step;
        t.mock.timers.tick(step);
        await new Promise(setImmediate); // lets pending promises continue
      }
    },
  };
  /** @param {string} path */
  const fetchPoints = async (path) => {
    p.requests.push({ path, at: now });
    return Array.from({ length: p.knows }, (_, i) => /** @type {AmountEntry} */ ([i + 0.5, 5000, 20]));
  };
  const needed = () => p.needed !== null && points.lacksAmount(p.needed);
  return Object.assign(p, { amounts: new Amounts(points, needed, () => p.updates++, { fetchPoints, now: () => now }) });
}

test("one request fetches the amounts of all points", async (t) => {
  const p = page(t, 1500);
  await p.amounts.update();
  assert.deepEqual(p.requests, [{ path: "api/v1/points?since=500", at: 0 }]); // the first of the newest 1000 is of 500.5
  assert.deepEqual([p.points.amount(499), p.points.amount(500), p.points.amount(1499), p.updates], [20, 20, 20, 1]);
  p.needed = 700;
  await p.amounts.find();
  await p.pass(10_000);
  assert.equal(p.requests.length, 1, "known amounts are fetched again");
});

test("an amount that the edge does not have yet is fetched again, once a second", async (t) => {
  const p = page(t, 10);
  [p.knows, p.needed] = [8, 9];
  p.amounts.find();
  await p.pass(900);
  assert.deepEqual(p.requests.map(({ at }) => at), [0]);
  p.knows = 10;
  p.amounts.find(); // the reader selects it repeatedly
  p.amounts.find();
  await p.pass(900);
  assert.deepEqual(p.requests, [{ path: "api/v1/points?since=0", at: 0 }, { path: "api/v1/points?since=8", at: 1000 }]);
  assert.equal(p.points.amount(9), 20);
});

test("Amounts stops fetching an amount that no edge has, until a reader selects the point again", async (t) => {
  const p = page(t, 10);
  [p.knows, p.needed] = [8, 9];
  p.amounts.find();
  await p.pass(60_000);
  assert.deepEqual(p.requests.map(({ at }) => at), [0, 1000, 2000]);
  p.amounts.find();
  await p.pass(500);
  assert.equal(p.requests.length, 4);
});

test("no request when no amount is needed any more", async (t) => {
  const p = page(t, 10);
  [p.knows, p.needed] = [8, 9];
  p.amounts.find();
  await p.pass(500);
  p.needed = null;
  await p.pass(60_000);
  assert.equal(p.requests.length, 1);
});

test("requests are limited to one per second", async (t) => {
  const p = page(t, 10);
  [p.knows, p.needed] = [8, 9];
  p.amounts.find();
  for (let i = 0; i < 50; i++) {
    p.amounts.update();
    p.amounts.find();
    await p.pass(100);
  }
  assert.deepEqual(p.requests.map(({ at }) => at), [0, 1000, 2000, 3000, 4000, 5000]);
});

test("a failed request throws no error", async (t) => {
  const p = page(t, 10);
  const amounts = new Amounts(p.points, () => true, () => {}, { fetchPoints: async () => null });
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

test("the announcer announces the first price at once, then at most every 30 s", () => {
  const announcer = new Announcer();
  const start = 1.8e12;
  assert.equal(announcer.next(null, CONNECTING, start), "");
  assert.equal(announcer.next(snapshot(5000), LIVE, start + 250), 
    `One bitcoin: ${dollars(5000)}, confidence very high. Connection: live.`);
  /** @type {number[]} */
  const said = [];
  for (let after = 500; after <= 300_000; after += 250) { // a price that jumps at each tick, a state that alternates
    const [price, state] = [after % 500 ? 5000 : 6000, after % 750 ? LIVE : STALE];
    if (announcer.next(snapshot(price), state, start + after)) said.push(after);
  }
  assert.ok(said.length >= 9, `${said.length} times in 5 min`);
  said.reduce((last, after) => {
    assert.ok(after - last >= 30_000, `said after ${last} and ${after} ms`);
    return after;
  }, 250);
});

test("the announcer ignores an unchanged price and a small move, and announces a new state", () => {
  const announcer = new Announcer();
  assert.notEqual(announcer.next(snapshot(5000), LIVE, 1e12), "");
  assert.equal(announcer.next(snapshot(5000), LIVE, 1e12 + 60_000), "");
  assert.equal(announcer.next(snapshot(5012), LIVE, 1e12 + 60_000), "", "a move of 0.24 %");
  assert.match(announcer.next(snapshot(5012), STALE, 1e12 + 60_000), /^One bitcoin: .* Connection: stale: last update 4 s ago\.$/);
  assert.ok(announcer.next(snapshot(5030), STALE, 1e12 + 90_000).includes(dollars(5030)), "a move of 0.36 %");
});

/** @type {State} */
const CONTESTED = { name: "contested", words: "contested: a second price", advice: "Trust it less." };

test("the announcer says what contested means, at most every 30 s however often it comes and goes", () => {
  const announcer = new Announcer();
  assert.notEqual(announcer.next(snapshot(5000), LIVE, 1e12), "");
  assert.equal(announcer.next(snapshot(5000), CONTESTED, 1e12 + 29_999), "");
  assert.equal(announcer.next(snapshot(5000), CONTESTED, 1e12 + 30_000),
    `One bitcoin: ${dollars(5000)}, confidence very high. Connection: contested: a second price. Trust it less.`);
  let said = 0;
  for (let after = 30_250; after <= 90_000; after += 250) {
    if (announcer.next(snapshot(5000), after % 500 ? LIVE : CONTESTED, 1e12 + after)) said++;
  }
  assert.ok(said >= 1 && said <= 2, `${said} times in a minute`);
});

test("the announcer says that the price is gone, without an amount", () => {
  const announcer = new Announcer();
  assert.notEqual(announcer.next(snapshot(5000), LIVE, 1e12), "");
  /** @type {State} */
  const warming = { name: "warming", words: "warming up: 120 of about 500 payments seen" };
  assert.equal(announcer.next(snapshot(0), warming, 1e12 + 30_000), "Connection: warming up: 120 of about 500 payments seen.");
  assert.equal(announcer.next(snapshot(0), { ...warming, words: "warming up: 190" }, 1e12 + 90_000), "", "progress is no news");
});

test("without a price the announcer announces the connection's state", () => {
  const announcer = new Announcer();
  assert.equal(announcer.next(null, STALE, 1e12), "Connection: stale: last update 4 s ago.");
});
