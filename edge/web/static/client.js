// @ts-check
// The stream of snapshots: one WebSocket, reconnected until it is stopped. It imports nothing and needs no page, so that
// other pages and programs can use this file alone; docs/clients.md shows how.

/**
 * @typedef {object} Point
 * @property {number} timestamp unix seconds
 * @property {number} price USD
 *
 * @typedef {object} Stats
 * @property {number} total_received
 * @property {number} total_filtered
 * @property {number} active_in_window
 * @property {number} uptime_seconds
 * @property {number} [peers] connected now; both are absent if the transactions come from a node
 * @property {number} [peers_wanted] how many there should be
 *
 * @typedef {object} Snapshot immutable: the next one is a new object with a new array of transactions
 * @property {number} price USD, 0 while there is none
 * @property {number} confidence 0 to 1
 * @property {Point[]} transactions oldest first
 * @property {Stats} stats
 * @property {number} timestamp unix seconds, by the ingester's clock
 * @property {number} low 0 while there is no price
 * @property {number} high
 * @property {"warming" | "live" | "contested" | "stale"} status later versions may add values: treat them as live
 * @property {number} seq one more than that of the snapshot before, within an epoch
 * @property {string} epoch
 *
 * @typedef {"connecting" | "open" | "waiting" | "refused" | "closed"} Phase
 */

export const PROTOCOL = "sightglass.delta.v1";

/** The edge's close codes after which a client must not reconnect. */
const FINAL = new Set([1002, 1003, 1007, 1008, 1009]);
const TOO_MANY_CONNECTIONS = 4029;
const NORMAL = 1000;
const ABNORMAL = 1006; // browsers report it for a connection that ended without a close frame

const TOO_MANY_DELAY = 60_000;
const GOOD_AFTER = 60_000; // ms; a connection that lasted this long resets the backoff
const CONNECT_TIMEOUT = 10_000;
const PING_AFTER = 10_000; // ms of silence, which an edge without snapshots causes too
const PONG_TIMEOUT = 5_000;

/**
 * The delay before a reconnection in ms: full jitter, so that a fleet of browsers does not reconnect in step.
 * @param {number} attempt from 0
 */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(30_000, 500 * 2 ** attempt);
}

/**
 * The address of an edge's stream. The default is the edge that this file was loaded from, whichever page loaded it.
 * @param {string | URL} edge such as https://edge.example, or https://example.org/price if it is under a path there
 */
export function streamURL(edge = new URL("..", import.meta.url)) {
  const url = new URL(edge);
  url.pathname = url.pathname.replace(/\/?$/, "/ws/mempool");
  url.search = url.hash = "";
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

/** Rebuilds snapshots from one connection's messages. */
export class Replica {
  /** @type {Snapshot | null} */ snapshot = null;
  drop = 0; // how many of the oldest transactions the last message dropped
  /** @type {Point[]} */ add = []; // and which it then appended

  /**
   * Applies the next message and returns the resulting snapshot. After an error only a new connection helps.
   * @param {any} message parsed
   * @returns {Snapshot}
   */
  apply(message) {
    switch (message?.type) {
      case "keyframe": return this.#keyframe(message);
      case "delta": return this.#delta(message);
    }
    throw new Error(`type ${message?.type} is neither keyframe nor delta`);
  }

  /** @param {any} message */
  #keyframe({ type, ...snapshot }) {
    check(Array.isArray(snapshot.transactions) && snapshot.transactions.every(isPoint), "transactions");
    check(typeof snapshot.epoch === "string", "epoch");
    return this.#setSnapshot(snapshot, this.snapshot?.transactions.length ?? 0, snapshot.transactions);
  }

  /** @param {any} message */
  #delta({ type, drop, add, ...rest }) {
    const last = this.snapshot;
    if (!last) throw new Error("a delta before the first keyframe");
    check(rest.seq === last.seq + 1, `seq ${rest.seq} after ${last.seq}`);
    check(Number.isInteger(drop) && drop >= 0 && drop <= last.transactions.length, "drop");
    check(Array.isArray(add), "add");
    const points = add.map(pointOf);
    return this.#setSnapshot({ ...last, ...rest, transactions: last.transactions.slice(drop).concat(points) }, drop, points);
  }

  /** @param {any} snapshot @param {number} drop @param {Point[]} add */
  #setSnapshot(snapshot, drop, add) {
    for (const name of ["price", "confidence", "timestamp", "low", "high"]) check(Number.isFinite(snapshot[name]), name);
    check(Number.isSafeInteger(snapshot.seq), "seq");
    check(typeof snapshot.status === "string" && snapshot.status !== "", "status");
    check(isStats(snapshot.stats), "stats");
    [this.snapshot, this.drop, this.add] = [/** @type {Snapshot} */ (snapshot), drop, add];
    return this.snapshot;
  }
}

const STATS = ["total_received", "total_filtered", "active_in_window", "uptime_seconds"];
const OPTIONAL_STATS = ["peers", "peers_wanted"];

/** @param {boolean} right @param {string} what */
function check(right, what) {
  if (!right) throw new Error(`invalid sightglass.delta.v1 message: ${what}`);
}

/** @param {any} stats */
const isStats = (stats) => STATS.every((name) => Number.isFinite(stats?.[name])) &&
  OPTIONAL_STATS.every((name) => stats[name] === undefined || Number.isFinite(stats[name]));

/** @param {any} p */
const isPoint = (p) => Number.isFinite(p?.timestamp) && Number.isFinite(p.price);

/** @param {any} pair @returns {Point} */
function pointOf(pair) {
  const point = { timestamp: pair?.[0], price: pair?.[1] };
  check(isPoint(point) && pair.length === 2, "add");
  return point;
}

/**
 * Fires "snapshot" for each snapshot, and "phase" when the connection's phase changes. Times are Date.now(). A connection
 * with an invalid message or a gap is replaced by a new one, which begins with a keyframe.
 */
export class StreamClient extends EventTarget {
  /** @type {Phase} */ phase = "connecting";
  /** @type {Snapshot | null} the newest */ snapshot = null;
  lastDrop = 0; // the newest snapshot's transactions are those of the one before without its first lastDrop,
  /** @type {Point[]} */ lastAdd = []; // and then these; also after a new connection, which replaces them all
  freshAt = 0; // when it was last known to be fresh
  openedAt = 0; // when this connection opened, 0 before
  goodSince = 0; // when this connection brought its first snapshot, 0 before
  retryAt = 0; // in the phases waiting and refused
  code = 0; // of the last close

  /** @type {WebSocket | null} */ #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #checks;
  /** @type {AbortController | null} set between start and stop */ #running = null;
  #replica = new Replica();
  #attempt = 0;
  #connectingSince = 0;
  #receivedAt = 0; // when the last message was received
  #pingedAt = 0;

  /**
   * @param {string | URL} url
   * @param {{WebSocket?: typeof WebSocket}} options a WebSocket for where there is none, such as Node.js before 22
   */
  constructor(url = streamURL(), options = {}) {
    super();
    this.url = url;
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
  }

  start() {
    if (this.#running) return;
    const { signal } = this.#running = new AbortController();
    this.#checks = setInterval(() => this.#check(), 1000);
    globalThis.addEventListener?.("online", () => this.#online(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#wake(), { signal });
    this.#attempt = 0;
    this.#connect();
  }

  /** Closes the connection until the next start. The snapshot stays. */
  stop() {
    if (!this.#running) return;
    this.#closeSocket(NORMAL);
    this.#end();
  }

  #end() {
    this.#running?.abort();
    this.#running = null;
    clearInterval(this.#checks);
    clearTimeout(this.#timer);
    this.#enter("closed");
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = new this.WebSocket(this.url, PROTOCOL);
    this.#socket = socket;
    this.#replica = new Replica();
    this.#connectingSince = Date.now();
    this.openedAt = this.goodSince = this.#pingedAt = 0;
    /** @param {(e: any) => void} handler */
    const ifCurrent = (handler) => (/** @type {Event} */ e) => socket === this.#socket && handler(e);
    socket.onopen = ifCurrent(() => this.#opened());
    socket.onmessage = ifCurrent((e) => this.#receive(e.data));
    socket.onclose = ifCurrent((e) => this.#closed(e.code));
    socket.onerror = () => {}; // a close event follows; without a listener some WebSockets throw
    this.#enter("connecting");
  }

  #opened() {
    this.openedAt = this.#receivedAt = Date.now();
    this.#enter("open");
  }

  /** @param {string} text */
  #receive(text) {
    this.#receivedAt = Date.now();
    try {
      const message = JSON.parse(text);
      if (message?.type === "pong") return;
      this.#replica.apply(message);
    } catch {
      return this.#drop();
    }
    this.#show();
  }

  #show() {
    const snapshot = /** @type {Snapshot} */ (this.#replica.snapshot);
    const first = !this.goodSince;
    this.goodSince ||= this.#receivedAt;
    this.freshAt = this.#freshness(snapshot, this.#receivedAt);
    this.lastDrop = first ? this.snapshot?.transactions.length ?? 0 : this.#replica.drop;
    this.lastAdd = this.#replica.add;
    this.snapshot = snapshot;
    this.dispatchEvent(new Event("snapshot"));
  }

  /**
   * A stale snapshot is not fresh, but may be newer than the last one: by the difference of their timestamps. Only for the
   * first snapshot is the ingester's clock compared with our own.
   * @param {Snapshot} s @param {number} now
   */
  #freshness(s, now) {
    if (s.status !== "stale") return now;
    if (!this.snapshot) return Math.min(now, s.timestamp * 1000);
    return Math.min(now, this.freshAt + 1000 * Math.max(0, s.timestamp - this.snapshot.timestamp));
  }

  /** @param {number} code */
  #closed(code) {
    this.#socket = null;
    this.code = code;
    if (FINAL.has(code)) return this.#end();
    if (code === TOO_MANY_CONNECTIONS) return this.#retry("refused", TOO_MANY_DELAY);
    if (this.goodSince && Date.now() - this.goodSince >= GOOD_AFTER) this.#attempt = 0;
    this.#retry("waiting", backoff(this.#attempt++));
  }

  /** @param {Phase} phase @param {number} wait in ms */
  #retry(phase, wait) {
    this.retryAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#enter(phase);
  }

  /** Drops a connection that may be dead without the browser noticing. */
  #check() {
    const now = Date.now();
    if (this.phase === "connecting" && now - this.#connectingSince > CONNECT_TIMEOUT) return this.#drop();
    if (this.phase !== "open") return;
    const unanswered = this.#pingedAt > this.#receivedAt;
    if (unanswered && now - this.#pingedAt > PONG_TIMEOUT) return this.#drop();
    if (!unanswered && now - this.#receivedAt > PING_AFTER) this.#ping();
  }

  #ping() {
    this.#pingedAt = Date.now();
    this.#socket?.send(JSON.stringify({ type: "ping", timestamp: this.#pingedAt / 1000 }));
  }

  #drop() {
    this.#closeSocket(ABNORMAL);
    this.#closed(ABNORMAL);
  }

  /** @param {number} code for this.code; it is not sent */
  #closeSocket(code) {
    const socket = this.#socket;
    this.#socket = null;
    this.code = code;
    socket?.close(); // on a dead link this takes long; its events are ignored
  }

  /** A handshake that began before the network was back may wait for a lost response. */
  #online() {
    if (this.phase === "connecting") {
      this.#closeSocket(ABNORMAL);
      this.#connect();
    } else {
      this.#wake();
    }
  }

  /** Reconnects at once when the network is back or the page is visible, unless the edge asked to wait. */
  #wake() {
    if (this.phase === "waiting") this.#connect();
    else if (this.phase === "open" && Date.now() - this.#receivedAt > 3000) this.#ping();
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.phase = phase;
    this.dispatchEvent(new Event("phase"));
  }
}
