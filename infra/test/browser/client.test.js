// @ts-check
// Tests of the stream's client without a browser: its messages, and its connections with a simulated clock and network.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { PROTOCOL, Replica, StreamClient, backoff, streamURL } from "../../../edge/web/static/client.js";

/** @typedef {import("../../../edge/web/static/client.js").Snapshot} Snapshot */
/** @typedef {import("../../../edge/web/static/client.js").Point} Point */

/** @param {string} name a golden file of shared/contract */
const golden = (name) => JSON.parse(readFileSync(new URL(`../../../shared/contract/testdata/${name}`, import.meta.url), "utf8"));

/** Reproducible random numbers from 0 to 1. @param {number} seed */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0; // mulberry32
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MOST = 1000;

/** @type {any[]} the last one is of a later version */
const STATUSES = ["live", "live", "warming", "contested", "half_open"];

/** The snapshot after s, with added and removed points as from an ingester. @param {Snapshot} s @param {() => number} chance */
function following(s, chance) {
  const added = Array.from({ length: Math.floor(chance() ** 4 * 1200) }, (_, i) => ({
    timestamp: s.timestamp + i / 1000, price: Math.round(500000 * chance()) / 100,
  }));
  const kept = s.transactions.slice(Math.floor(chance() ** 3 * (s.transactions.length + 1)));
  return snapshotOf(s.seq + 1, kept.concat(added).slice(-MOST), s.epoch, chance);
}

/** @param {number} seq @param {Point[]} transactions @param {string} epoch @param {() => number} chance @returns {Snapshot} */
function snapshotOf(seq, transactions, epoch, chance) {
  const price = Math.round(1e7 * chance()) / 100;
  return {
    price, confidence: Math.round(1000 * chance()) / 1000, transactions,
    stats: { total_received: seq * 7, total_filtered: seq, active_in_window: seq * 6, uptime_seconds: seq },
    timestamp: 1556771000 + seq / 2, low: price, high: price, seq, epoch,
    status: STATUSES[Math.floor(chance() * STATUSES.length)],
  };
}

/** @param {Snapshot} s */
const keyframe = (s) => JSON.stringify({ type: "keyframe", ...s });

/** The smallest delta, or null if no point of old is left. @param {Snapshot} old @param {Snapshot} s @returns {string | null} */
function delta(old, s) {
  const first = s.transactions[0];
  const drop = first ? old.transactions.indexOf(first) : old.transactions.length;
  if (drop < 0) return null;
  const { epoch, transactions, ...rest } = s;
  const add = transactions.slice(old.transactions.length - drop).map((p) => [p.timestamp, p.price]);
  return JSON.stringify({ type: "delta", ...rest, drop, add });
}

test("Replica rebuilds snapshots that Go encoded", () => {
  const replica = new Replica();
  assert.deepEqual(replica.apply(golden("keyframe.json")), golden("snapshot.json"));
  const message = golden("delta.json");
  const { type, drop, add, ...rest } = message;
  assert.deepEqual(replica.apply(message), {
    ...rest, epoch: "1556771611000",
    transactions: [
      { timestamp: 1556771672, price: 5320.12 }, { timestamp: 1556771672.75, price: 5315 },
      { timestamp: 1556771672.9, price: 5312.3 },
    ],
  });
});

test("Replica rebuilds snapshots with peers, which a keyframe may lack again", () => {
  const replica = new Replica();
  const snapshot = golden("snapshot-peers.json");
  assert.deepEqual(replica.apply({ type: "keyframe", ...snapshot }), snapshot);
  assert.deepEqual([snapshot.stats.peers, snapshot.stats.peers_wanted], [3, 8]);
  const next = replica.apply(golden("delta-peers.json"));
  assert.deepEqual([next.stats.peers, next.stats.peers_wanted], [8, 8]);
  const { stats } = replica.apply(golden("keyframe.json"));
  assert.deepEqual([stats.peers, stats.peers_wanted], [undefined, undefined]);
});

test("Replica: any sequence of keyframes and deltas rebuilds the plain snapshots, and drop and add yield their points", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const chance = random(seed);
    const replica = new Replica();
    /** @type {Point[]} */ let points = [];
    /** @type {Snapshot} */ let s = snapshotOf(1, [], "1", chance);
    /** @type {Snapshot | null} the connection's last one */ let sent = null;
    for (let i = 0; i < 60; i++) {
      const next = chance() < 0.03 ? snapshotOf(1, [], String(seed + i), chance) : following(s, chance);
      const change = next.epoch === s.epoch ? delta(s, next) : null;
      /** @type {boolean} */ const isNext = sent === s;
      s = next;
      if (chance() < 0.15) continue; // the client was slow
      if (!isNext && change) assert.throws(() => replica.apply(JSON.parse(change)), `seed ${seed}: a delta after a gap`);
      /** @type {string} */ const message = isNext && chance() > 0.05 ? change ?? keyframe(s) : keyframe(s);
      assert.deepEqual(replica.apply(JSON.parse(message)), s, `seed ${seed}, message ${i}`);
      points = points.slice(replica.drop).concat(replica.add);
      assert.deepEqual(points, s.transactions, `seed ${seed}, message ${i}: drop and add`);
      sent = s;
    }
  }
});

test("Replica: a keyframe of a lower epoch replaces the snapshot, as the edge decides on epochs", () => {
  const replica = new Replica(), chance = random(1);
  const higher = snapshotOf(9, [], "1656771611000", chance), lower = snapshotOf(1, [], "1556771611000", chance);
  replica.apply(JSON.parse(keyframe(higher)));
  assert.deepEqual(replica.apply(JSON.parse(keyframe(lower))), lower);
  const next = following(lower, chance);
  assert.deepEqual(replica.apply(JSON.parse(delta(lower, next) ?? keyframe(next))), next);
});

test("Replica: an invalid message is an error and changes nothing", () => {
  const good = golden("delta.json");
  for (const [name, message] of Object.entries({
    "a gap": { ...good, seq: 125 },
    "a repeated delta": { ...good, seq: 123 },
    "no seq": { ...good, seq: undefined },
    "a drop too large": { ...good, drop: 3 },
    "a negative drop": { ...good, drop: -1 },
    "half a point": { ...good, drop: 0.5 },
    "no points": { ...good, add: null },
    "a point without price": { ...good, add: [[1]] },
    "a point of text": { ...good, add: [["1", "2"]] },
    "a point of three": { ...good, add: [[1, 2, 3]] },
    "a price of text": { ...good, price: "5313.60" },
    "no stats": { ...good, stats: null },
    "peers of text": { ...good, stats: { ...good.stats, peers: "3", peers_wanted: 8 } },
    "peers without a number": { ...good, stats: { ...good.stats, peers: 3, peers_wanted: null } },
    "no status": { ...good, status: undefined },
    "an empty status": { ...good, status: "" },
    "a status that is a number": { ...good, status: 1 },
    "another type": { ...good, type: "gamma" },
    "no type": golden("snapshot.json"),
    "a keyframe without points": { ...golden("keyframe.json"), transactions: {} },
    "a keyframe without epoch": { ...golden("keyframe.json"), epoch: 1 },
    "nothing": null,
    "a number": 1,
  })) {
    const replica = new Replica();
    assert.throws(() => replica.apply(good), /before the first keyframe/);
    const before = replica.apply(golden("keyframe.json"));
    assert.throws(() => replica.apply(message), Error, name);
    assert.equal(replica.snapshot, before, name);
    assert.equal(replica.apply(good).seq, 124, name);
  }
});

test("Replica: snapshots are immutable", () => {
  const replica = new Replica();
  const first = replica.apply(golden("keyframe.json"));
  replica.apply(golden("delta.json"));
  assert.deepEqual(first, golden("snapshot.json"));
});

test("Replica: unknown keys are preserved", () => {
  const replica = new Replica();
  replica.apply({ ...golden("keyframe.json"), colour: "red" });
  assert.equal(/** @type {any} */ (replica.apply({ ...golden("delta.json"), colour: "blue" })).colour, "blue");
});

test("backoff is random up to a limit that doubles, 30 s at most", () => {
  assert.deepEqual([0, 1, 2, 5, 6, 50].map((n) => backoff(n, () => 1)), [500, 1000, 2000, 16000, 30000, 30000]);
  assert.equal(backoff(6, () => 0), 0);
  assert.equal(backoff(6, () => 0.5), 15000);
});

test("streamURL", () => {
  assert.equal(String(streamURL("https://edge.example")), "wss://edge.example/ws/mempool");
  assert.equal(String(streamURL("http://127.0.0.1:8080/")), "ws://127.0.0.1:8080/ws/mempool");
  assert.equal(String(streamURL("https://example.org/btc/price")), "wss://example.org/btc/price/ws/mempool");
  assert.equal(String(streamURL(new URL("https://example.org/price/?a#b"))), "wss://example.org/price/ws/mempool");
  assert.equal(String(streamURL()), String(new URL("../../../edge/web/ws/mempool", import.meta.url))); // relative to the script's folder
});

/** Simulates the clock, the browser and the network. Nothing waits for real time. */
class Simulation {
  now = 1_700_000_000_000;
  /** @type {{at: number, every: number, run: () => void, id: number}[]} */ timers = [];
  /** @type {FakeSocket[]} */ sockets = [];
  /** @type {string[]} */ phases = [];
  /** @type {Map<string, () => void>} */ listeners = new Map();
  document = { hidden: false, addEventListener: this.#listen.bind(this) };
  #ids = 0;

  /** @param {import("node:test").TestContext} t @param {number} jitter what Math.random returns */
  constructor(t, jitter = 1) {
    const sim = this;
    const after = (/** @type {number} */ every) => (/** @type {() => void} */ run, /** @type {number} */ ms) => {
      this.timers.push({ at: this.now + ms, every: every * ms, run, id: ++this.#ids });
      return this.#ids;
    };
    const clear = (/** @type {number} */ id) => { this.timers = this.timers.filter((timer) => timer.id !== id); };
    this.#replace(t, globalThis, {
      setTimeout: after(0), setInterval: after(1), clearTimeout: clear, clearInterval: clear,
      addEventListener: this.#listen.bind(this), document: this.document,
    });
    this.#replace(t, Date, { now: () => this.now });
    this.#replace(t, Math, { random: () => jitter });
    this.client = new StreamClient("ws://edge/ws/mempool", {
      WebSocket: /** @type {any} */ (class extends FakeSocket {
        /** @param {string} url @param {string} protocol */
        constructor(url, protocol) { super(url, protocol); sim.sockets.push(this); }
      }),
    });
    this.client.addEventListener("phase", () => this.phases.push(this.client.phase));
  }

  /** @param {import("node:test").TestContext} t @param {any} target @param {Record<string, any>} fakes */
  #replace(t, target, fakes) {
    for (const [name, value] of Object.entries(fakes)) {
      const before = Object.getOwnPropertyDescriptor(target, name);
      Object.defineProperty(target, name, { value, configurable: true, writable: true });
      t.after(() => before ? Object.defineProperty(target, name, before) : delete target[name]);
    }
  }

  /** @param {string} name @param {() => void} run @param {{signal: AbortSignal}} options */
  #listen(name, run, { signal }) {
    this.listeners.set(name, run);
    signal.addEventListener("abort", () => this.listeners.delete(name));
  }

  /** @param {number} ms */
  pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const [next] = this.timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.now = next.at;
      if (next.every) next.at += next.every;
      else this.timers = this.timers.filter((t) => t !== next);
      next.run();
    }
    this.now = end;
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  /** Opens the newest connection and sends its keyframe. */
  serve() {
    this.socket.onopen();
    this.socket.send_(JSON.stringify(golden("keyframe.json")));
  }
}

class FakeSocket {
  onopen = () => {};
  onmessage = (/** @type {any} */ _) => {};
  onclose = (/** @type {any} */ _) => {};
  /** @type {string[]} */ sent = [];
  closed = false;

  /** @param {string} url @param {string} protocol */
  constructor(url, protocol) { this.url = url; this.protocol = protocol; }
  /** @param {string} text */
  send(text) { this.sent.push(text); }
  close() { this.closed = true; }
  /** Simulates a message from the edge. @param {any} data */
  send_(data) { this.onmessage({ data }); }
}

test("StreamClient connects with the delta protocol and fires each snapshot once", (t) => {
  const sim = new Simulation(t);
  const { client } = sim;
  /** @type {[number | undefined, number, number][]} */ const shown = [];
  client.addEventListener("snapshot", () => shown.push([client.snapshot?.seq, client.lastDrop, client.lastAdd.length]));
  client.start();
  client.start(); // no effect
  assert.deepEqual(sim.sockets.map((s) => s.protocol), [PROTOCOL]);
  sim.serve();
  sim.socket.send_(JSON.stringify(golden("delta.json")));
  sim.socket.send_(JSON.stringify({ type: "pong", timestamp: 1 }));
  assert.deepEqual(shown, [[123, 0, 2], [124, 1, 2]]);
  assert.deepEqual([client.phase, client.freshAt, client.goodSince], ["open", sim.now, sim.now]);
});

for (const [name, message] of Object.entries({
  "a gap": JSON.stringify({ ...golden("delta.json"), seq: 130 }),
  "no JSON": "{",
  "a binary message": new ArrayBuffer(8),
})) {
  test(`StreamClient reconnects after ${name} and rebuilds the snapshot`, (t) => {
    const sim = new Simulation(t);
    const { client } = sim;
    client.start();
    sim.serve();
    const [before] = sim.sockets;
    before.send_(message);
    assert.ok(before.closed);
    assert.equal(client.phase, "waiting");
    assert.equal(client.snapshot?.seq, 123, "the snapshot is kept");
    before.send_(JSON.stringify(golden("delta.json"))); // in flight
    assert.equal(client.snapshot?.seq, 123);
    sim.pass(500);
    sim.serve();
    assert.equal(sim.sockets.length, 2);
    assert.deepEqual([client.phase, client.lastDrop, client.lastAdd.length], ["open", 2, 2]);
  });
}

test("StreamClient waits longer after each failure, and resets the wait after a stable minute", (t) => {
  const sim = new Simulation(t);
  const { client } = sim;
  client.start();
  const waits = [];
  for (let i = 0; i < 8; i++) {
    sim.socket.onclose({ code: 1006 });
    waits.push(client.retryAt - sim.now);
    sim.pass(client.retryAt - sim.now);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  sim.serve();
  sim.pass(5000);
  sim.socket.onclose({ code: 1001 });
  assert.equal(client.retryAt - sim.now, 30000, "five seconds do not reset the wait");
  sim.pass(30000);
  sim.serve();
  for (let s = 0; s < 60; s++) {
    sim.pass(1000);
    sim.socket.send_('{"type":"pong"}');
  }
  sim.socket.onclose({ code: 1001 });
  assert.equal(client.retryAt - sim.now, 500);
});

test("StreamClient reconnects at once when the network is back or the page is visible again", (t) => {
  const sim = new Simulation(t);
  sim.client.start();
  sim.socket.onclose({ code: 1006 });
  sim.listeners.get("online")?.();
  assert.equal(sim.sockets.length, 2, "no immediate reconnect");
  sim.listeners.get("online")?.();
  assert.equal(sim.sockets.length, 3, "a pending attempt may hang, so a new one starts");
  assert.ok(sim.sockets[1].closed);
  sim.socket.onclose({ code: 1006 });
  sim.document.hidden = true;
  sim.listeners.get("visibilitychange")?.();
  assert.equal(sim.sockets.length, 3, "the page is hidden");
  sim.document.hidden = false;
  sim.listeners.get("visibilitychange")?.();
  assert.equal(sim.sockets.length, 4);
  sim.pass(9000);
  assert.equal(sim.sockets.length, 4, "the cancelled wait has no effect");
});

test("StreamClient waits a minute after 4029, even if the page becomes visible", (t) => {
  const sim = new Simulation(t);
  sim.client.start();
  sim.socket.onopen();
  sim.socket.onclose({ code: 4029 });
  assert.deepEqual([sim.client.phase, sim.client.code], ["refused", 4029]);
  sim.listeners.get("online")?.();
  sim.pass(59_999);
  assert.equal(sim.sockets.length, 1);
  sim.pass(1);
  assert.equal(sim.sockets.length, 2);
});

for (const code of [1002, 1003, 1007, 1008, 1009]) {
  test(`StreamClient does not reconnect after ${code} until start is called`, (t) => {
    const sim = new Simulation(t);
    sim.client.start();
    sim.socket.onclose({ code });
    sim.pass(3_600_000);
    assert.deepEqual([sim.client.phase, sim.sockets.length, sim.timers.length, sim.listeners.size], ["closed", 1, 0, 0]);
    sim.client.start();
    assert.equal(sim.sockets.length, 2);
  });
}

test("StreamClient pings a silent edge, and reconnects without a pong", (t) => {
  const sim = new Simulation(t);
  sim.client.start();
  sim.serve();
  sim.pass(11_000);
  assert.match(sim.socket.sent[0], /"ping"/);
  sim.socket.send_('{"type":"pong"}');
  sim.pass(11_000);
  assert.equal(sim.socket.sent.length, 2, "a second ping after a pong");
  assert.equal(sim.client.phase, "open");
  sim.pass(6000);
  assert.equal(sim.client.phase, "waiting");
  assert.ok(sim.sockets[0].closed);
});

test("StreamClient abandons a connection that does not open within 10 s", (t) => {
  const sim = new Simulation(t);
  sim.client.start();
  sim.pass(11_000);
  assert.equal(sim.client.phase, "waiting");
});

test("StreamClient.stop releases timers, listeners and the socket, also when called from a listener", (t) => {
  for (const when of ["connecting", "open", "waiting"]) {
    const sim = new Simulation(t);
    const { client } = sim;
    client.addEventListener("phase", () => client.phase === when && client.stop());
    client.start();
    if (when !== "connecting") sim.serve();
    if (when === "waiting") sim.socket.onclose({ code: 1006 });
    assert.deepEqual([client.phase, client.code, sim.timers.length, sim.listeners.size], ["closed", 1000, 0, 0], when);
    sim.pass(60_000);
    assert.equal(sim.sockets.length, 1, when);
    client.stop();
  }
});

test("a stale snapshot's age is computed from its timestamps", (t) => {
  const sim = new Simulation(t);
  const { client } = sim;
  client.start();
  sim.socket.onopen();
  const old = { ...golden("keyframe.json"), status: "stale" };
  sim.socket.send_(JSON.stringify(old));
  assert.equal(client.freshAt, old.timestamp * 1000);
  sim.socket.send_(JSON.stringify({ ...old, timestamp: old.timestamp + 5, seq: 133 }));
  assert.equal(client.freshAt, (old.timestamp + 5) * 1000);
});
