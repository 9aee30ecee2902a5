// @ts-check
// Tests of the state in words, and of the forecast for the first price.

import assert from "node:assert/strict";
import test from "node:test";
import { hour, minute, probability, roughly } from "../../../edge/web/static/format.js";
import { ENOUGH, Pace } from "../../../edge/web/static/pace.js";
import { hintOf, isSure, progressOf, sourceOf, stateOf } from "../../../edge/web/static/state.js";

const NOW = 1.8e12;

/** A snapshot with some payments. @param {any} parts @returns {any} */
const snapshot = ({ payments = 0, ...parts } = {}) => ({
  price: 5000, confidence: 0.97, low: 4900, high: 5100, status: "live", seq: 1, epoch: "1", timestamp: NOW / 1000, transactions: [],
  stats: { total_received: 2 * payments, total_filtered: payments, active_in_window: payments, uptime_seconds: 1 }, ...parts,
});

const NONE = { price: 0, low: 0, high: 0, confidence: 0.2, status: "warming" };

/** A client that is connected. @param {any} parts of the snapshot @returns {any} */
const open = (parts) => ({ phase: "open", code: 0, goodSince: NOW, openedAt: NOW, freshAt: NOW, snapshot: snapshot(parts) });

/** @param {number} now @param {number} [secondsLeft] */
const at = (now, secondsLeft = 0) => ({ now, secondsLeft });

test("each status has its state, and an unknown one is shown as live", () => {
  for (const [status, want] of Object.entries({
    live: { name: "live", words: "live" },
    half_open: { name: "live", words: "live" }, // of a later version
    warming: { name: "warming", words: "warming up: 24 transactions so far" },
    contested: {
      name: "contested", words: "contested: round amounts are being paid at a second price",
      advice: "The price shown is the one whose payments have been there for hours. Trust it less until this ends.",
    },
    stale: { name: "stale", words: `stale: last price ${hour(NOW / 1000)}, 0 s ago` },
  })) {
    assert.deepEqual(stateOf(open({ status, payments: 12 }), at(NOW, 60)), want, status);
  }
});

test("a contested price that is no longer updated is stale", () => {
  const client = open({ status: "contested" });
  assert.equal(stateOf(client, at(NOW + 2999, 0)).name, "contested");
  assert.deepEqual(stateOf(client, at(NOW + 4000, 0)), { name: "stale", words: `stale: last price ${hour(NOW / 1000)}, 4 s ago` });
});

test("without a price the page says what is missing, and how long it will take if that is known", () => {
  for (const [payments, left, want] of /** @type {[number, number, string][]} */ ([
    [0, 0, "0 of about 500 payments seen"],
    [1, 0, "1 of about 500 payments seen"],
    [120, 350, "120 of about 500 payments seen; about 6 minutes at this pace"],
    [490, 9, "490 of about 500 payments seen; less than a minute at this pace"],
    [499, 60.5, "499 of about 500 payments seen; about 2 minutes at this pace"],
    [3, 18_000, "3 of about 500 payments seen; about 5 hours at this pace"],
    [620, 0, "620 payments seen, mostly enough, but their price is not clear yet"],
  ])) {
    const client = open({ ...NONE, payments });
    const state = stateOf(client, at(NOW, left));
    assert.deepEqual(state, { name: "warming", words: `warming up: ${want}` });
    assert.equal(hintOf(client, state, left), `There is no price yet: ${want}.`);
  }
  assert.equal(hintOf(open({ status: "contested" }), stateOf(open({}), at(NOW, 0)), 0), "", "there is a price");
});

/**
 * A client whose ingester reads from peers.
 * @param {any} parts of the snapshot @param {number} peers @param {number} [wanted]
 */
function listening(parts, peers, wanted = 8) {
  const client = open(parts);
  Object.assign(client.snapshot.stats, { peers, peers_wanted: wanted });
  return client;
}

test("the source is a node, or peers with those that are missing", () => {
  for (const [peers, wanted, want] of /** @type {[number | undefined, number | undefined, string][]} */ ([
    [undefined, undefined, "a node"], [0, 0, "a node"], [8, 8, "8 peers"], [3, 8, "3 of 8 peers"],
    [0, 8, "0 of 8 peers"], [9, 8, "9 peers"], [1, 1, "1 peer"], [0, 1, "0 of 1 peer"],
  ])) {
    const { stats } = snapshot();
    assert.equal(sourceOf({ ...stats, peers, peers_wanted: wanted }), want, `${peers} of ${wanted}`);
  }
});

test("while it is warming up, the state and the hint say that peers are missing", () => {
  for (const [payments, left, peers, want] of /** @type {[number, number, number, string][]} */ ([
    [120, 0, 8, "120 of about 500 payments seen"],
    [120, 0, 3, "120 of about 500 payments seen; 3 of 8 peers connected"],
    [120, 350, 3, "120 of about 500 payments seen; about 6 minutes at this pace; 3 of 8 peers connected"],
    [0, 0, 0, "0 of about 500 payments seen; 0 of 8 peers connected"],
  ])) {
    const client = listening({ ...NONE, payments }, peers);
    const state = stateOf(client, at(NOW, left));
    assert.deepEqual(state, { name: "warming", words: `warming up: ${want}` });
    assert.equal(hintOf(client, state, left), `There is no price yet: ${want}.`);
  }
  const withPrice = listening({ status: "warming", payments: 12 }, 3);
  assert.equal(stateOf(withPrice, at(NOW, 0)).words, "warming up: 24 transactions so far; 3 of 8 peers connected");
});

test("the state does not name peers once there is a price, nor the hint while the stream is stale", () => {
  assert.deepEqual(stateOf(listening({}, 3), at(NOW, 0)), { name: "live", words: "live" });
  const client = listening({ ...NONE, payments: 120 }, 3);
  const state = stateOf(client, at(NOW + 10_000, 0));
  assert.equal(hintOf(client, state, 0), "There is no price yet: 120 of about 500 payments seen.");
});

test("a stale stream has no pace", () => {
  const client = open({ ...NONE, payments: 120 });
  const state = stateOf(client, at(NOW + 10_000, 350));
  assert.equal(state.name, "stale");
  assert.equal(hintOf(client, state, 350), "There is no price yet: 120 of about 500 payments seen.");
});

test("without network the page says so, and when the last price was", () => {
  const client = { ...open({}), phase: "waiting", retryAt: NOW + 3000, freshAt: NOW - 180_000, code: 1006 };
  const time = hour(NOW / 1000 - 180);
  const offline = { now: NOW, secondsLeft: 0, online: false };
  assert.deepEqual(stateOf(/** @type {any} */ (client), offline), { name: "offline", words: `no network: last price ${time}, 3 min 0 s ago` });
  assert.equal(stateOf(/** @type {any} */ (client), at(NOW)).words, `reconnecting in 3 s: last price ${time}, 3 min 0 s ago`);
  const none = /** @type {any} */ ({ ...client, snapshot: null, freshAt: 0 });
  assert.deepEqual(stateOf(none, offline), { name: "offline", words: "no network" });
  assert.equal(hintOf(none, stateOf(none, offline), 0), "This device has no network. The page continues when it is back.");
  const visited = { ...offline, lastAt: NOW / 1000 - 90_000 };
  assert.equal(stateOf(none, visited).words, `no network: last price ${minute(NOW / 1000 - 90_000)}, 1 d 1 h ago`);
});

test("a price under the engine's bound is not sure, and the state says so", () => {
  for (const [status, confidence, want] of /** @type {[string, number, boolean][]} */ ([
    ["live", 0.75, true], ["live", 0.749, false], ["warming", 0.9, false], ["contested", 0.6, false], ["contested", 0.8, true],
    ["stale", 0.8, true], ["stale", 0.6, false], ["half_open", 0.8, true],
  ])) {
    assert.equal(isSure(snapshot({ status, confidence })), want, `${status} at ${confidence}`);
  }
  assert.equal(isSure(snapshot(NONE)), false);
  assert.equal(stateOf(open({ status: "live", confidence: 0.4 }), at(NOW)).advice, `Not reliable yet: a confidence of ${probability(0.4)}.`);
  assert.equal(stateOf(open({ status: "live", confidence: 0.9 }), at(NOW)).advice, undefined);
});

test("the progress to a first price ends with it", () => {
  assert.equal(progressOf(snapshot({ ...NONE, payments: 125 })), 0.25);
  assert.equal(progressOf(snapshot({ ...NONE, payments: 900 })), 1);
  assert.equal(progressOf(snapshot()), null);
  assert.equal(progressOf(null), null);
});

test("a forecast is no more precise than it can be", () => {
  assert.deepEqual([1, 60, 61, 600, 5340, 5341, 5400, 36_000].map(roughly), [
    "less than a minute", "less than a minute", "about 2 minutes", "about 10 minutes", "about 89 minutes", "about 2 hours", "about 2 hours",
    "about 10 hours",
  ]);
});

/** Adds a snapshot every half second. @param {Pace} pace @param {number} from @param {number} to @param {(t: number) => number} payments @param {string} [epoch] */
function feed(pace, from, to, payments, epoch = "1") {
  for (let t = from; t <= to; t += 0.5) pace.add(snapshot({ timestamp: t, payments: Math.floor(payments(t)), epoch }));
}

test("the pace is that of the last minutes, once it is known", () => {
  const pace = new Pace();
  assert.equal(pace.secondsLeft, 0);
  feed(pace, 1000, 1019, (t) => t - 1000);
  assert.equal(pace.secondsLeft, 0, "too short to tell");
  feed(pace, 1019.5, 1100, (t) => t - 1000);
  assert.ok(Math.abs(pace.secondsLeft - 400) < 5, `${pace.secondsLeft} s for 400 payments at one a second`);
  feed(pace, 1100.5, 1400, (t) => 100 + (t - 1100) / 2);
  assert.ok(Math.abs(pace.secondsLeft - 500) < 10, `${pace.secondsLeft} s for 250 payments at one in two seconds`);
});

test("no pace while nothing arrives, payments expire, or there are enough", () => {
  for (const payments of [() => 120, (/** @type {number} */ t) => 1500 - t, () => 0, (/** @type {number} */ t) => ENOUGH + t]) {
    const pace = new Pace();
    feed(pace, 1000, 1200, payments);
    assert.equal(pace.secondsLeft, 0);
  }
});

test("another ingester, or a clock that was set back, begins a new measurement", () => {
  const pace = new Pace();
  feed(pace, 1000, 1100, (t) => t - 1000);
  assert.ok(pace.secondsLeft > 0);
  feed(pace, 1100.5, 1110, () => 0, "2");
  assert.equal(pace.secondsLeft, 0);
  feed(pace, 1110.5, 1200, (t) => 2 * (t - 1110), "2");
  assert.ok(pace.secondsLeft > 0);
  feed(pace, 500, 510, () => 10, "2");
  assert.equal(pace.secondsLeft, 0);
  pace.add(snapshot({ timestamp: 510, payments: 499, epoch: "2" })); // the last one again
  assert.equal(pace.secondsLeft, 0);
});
