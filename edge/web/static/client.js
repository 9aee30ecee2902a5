// @ts-check
// The stream of snapshots: one WebSocket, kept up until it is stopped. It imports nothing and needs no page, so that
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
 *
 * @typedef {object} Snapshot one never changes: the next is another object, with another array of transactions
 * @property {number} price USD, 0 while there is none
 * @property {number} confidence 0 to 1
 * @property {Point[]} transactions oldest first
 * @property {Stats} stats
 * @property {number} timestamp unix seconds, by the ingester's clock
 * @property {number} low
 * @property {number} high
 * @property {"warming" | "live" | "stale"} status
 * @property {number} seq one more than that of the snapshot before, within an epoch
 * @property {string} epoch
 *
 * @typedef {"connecting" | "open" | "waiting" | "refused" | "closed"} Phase
 */

export const PROTOCOL = "sightglass.delta.v1";

/** The edge's close codes that ask a client not to come back; all others: reconnect. */
const FINAL = new Set([1002, 1003, 1007, 1008, 1009]);
const TOO_MANY = 4029;
const NORMAL = 1000;
const ABNORMAL = 1006; // what browsers say of a connection that ended without a word

const TOO_MANY_WAIT = 60_000;
const GOOD_AFTER = 60_000; // a connection that lasted so long was no failed attempt
const CONNECT_PATIENCE = 10_000;
const PING_AFTER = 10_000; // of silence: an edge without news is silent too, so ask
const PONG_PATIENCE = 5_000;

/**
 * How long to wait before a reconnection, in ms: full jitter, so that a fleet of browsers does not come back in step.
 * @param {number} attempt from 0
 */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(30_000, 500 * 2 ** attempt);
}

/**
 * Where an edge's stream is. Without an argument: the edge that this file came from, whichever page has loaded it.
 * @param {string | URL} edge such as https://edge.example, or https://example.org/price if it is under a path there
 */
export function streamURL(edge = new URL("..", import.meta.url)) {
  const url = new URL(edge);
  url.pathname = url.pathname.replace(/\/?$/, "/ws/mempool");
  url.search = url.hash = "";
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

/** Makes snapshots out of one connection's messages. */
export class Replica {
  /** @type {Snapshot | null} */ snapshot = null;
  drop = 0; // how many of the oldest transactions the last message took away
  /** @type {Point[]} */ add = []; // and which it then appended

  /**
   * Reads the next message and gives the snapshot that it makes. After an error there is nothing to go on from but a new
   * connection.
   * @param {any} message parsed
   * @returns {Snapshot}
   */
  take(message) {
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
    return this.#become(snapshot, this.snapshot?.transactions.length ?? 0, snapshot.transactions);
  }

  /** @param {any} message */
  #delta({ type, drop, add, ...rest }) {
    const last = this.snapshot;
    if (!last) throw new Error("a delta before the first keyframe");
    check(rest.seq === last.seq + 1, `seq ${rest.seq} after ${last.seq}`);
    check(Number.isInteger(drop) && drop >= 0 && drop <= last.transactions.length, "drop");
    check(Array.isArray(add), "add");
    const points = add.map(pointOf);
    return this.#become({ ...last, ...rest, transactions: last.transactions.slice(drop).concat(points) }, drop, points);
  }

  /** @param {any} snapshot @param {number} drop @param {Point[]} add */
  #become(snapshot, drop, add) {
    for (const name of ["price", "confidence", "timestamp", "low", "high"]) check(Number.isFinite(snapshot[name]), name);
    check(Number.isSafeInteger(snapshot.seq), "seq");
    check(STATUSES.has(snapshot.status), "status");
    check(STATS.every((name) => Number.isFinite(snapshot.stats?.[name])), "stats");
    [this.snapshot, this.drop, this.add] = [/** @type {Snapshot} */ (snapshot), drop, add];
    return this.snapshot;
  }
}

const STATUSES = new Set(["warming", "live", "stale"]);
const STATS = ["total_received", "total_filtered", "active_in_window", "uptime_seconds"];

/** @param {boolean} right @param {string} what */
function check(right, what) {
  if (!right) throw new Error(`not as sightglass.delta.v1 has it: ${what}`);
}

/** @param {any} p */
const isPoint = (p) => Number.isFinite(p?.timestamp) && Number.isFinite(p.price);

/** @param {any} pair @returns {Point} */
function pointOf(pair) {
  const point = { timestamp: pair?.[0], price: pair?.[1] };
  check(isPoint(point) && pair.length === 2, "add");
  return point;
}

/**
 * Fires "snapshot" for each one, and "phase" when the connection's phase changes. Times are Date.now(). A connection
 * whose messages do not fit together is dropped for a new one, which begins with everything.
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
  #beganAt = 0;
  #aliveAt = 0; // when anything last came
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

  /** Ends the connection for good, or until the next start. The snapshot stays. */
  stop() {
    if (!this.#running) return;
    this.#leave(NORMAL);
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
    this.#beganAt = Date.now();
    this.openedAt = this.goodSince = this.#pingedAt = 0;
    /** @param {(e: any) => void} then */
    const ifCurrent = (then) => (/** @type {Event} */ e) => socket === this.#socket && then(e);
    socket.onopen = ifCurrent(() => this.#opened());
    socket.onmessage = ifCurrent((e) => this.#take(e.data));
    socket.onclose = ifCurrent((e) => this.#closed(e.code));
    socket.onerror = () => {}; // a close follows; without a listener some WebSockets throw
    this.#enter("connecting");
  }

  #opened() {
    this.openedAt = this.#aliveAt = Date.now();
    this.#enter("open");
  }

  /** @param {string} text */
  #take(text) {
    this.#aliveAt = Date.now();
    try {
      const message = JSON.parse(text);
      if (message?.type === "pong") return;
      this.#replica.take(message);
    } catch {
      return this.#drop();
    }
    this.#show();
  }

  #show() {
    const snapshot = /** @type {Snapshot} */ (this.#replica.snapshot);
    const first = !this.goodSince;
    this.goodSince ||= this.#aliveAt;
    this.freshAt = this.#freshness(snapshot, this.#aliveAt);
    this.lastDrop = first ? this.snapshot?.transactions.length ?? 0 : this.#replica.drop;
    this.lastAdd = this.#replica.add;
    this.snapshot = snapshot;
    this.dispatchEvent(new Event("snapshot"));
  }

  /**
   * A stale snapshot is no news of now, but may be newer than the last. By how much is told by the ingester's clock;
   * only a page that knows nothing yet has to set that against its own.
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
    if (code === TOO_MANY) return this.#retry("refused", TOO_MANY_WAIT);
    if (this.goodSince && Date.now() - this.goodSince >= GOOD_AFTER) this.#attempt = 0;
    this.#retry("waiting", backoff(this.#attempt++));
  }

  /** @param {Phase} phase @param {number} wait in ms */
  #retry(phase, wait) {
    this.retryAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#enter(phase);
  }

  /** Drops a connection that may be dead without the browser knowing. */
  #check() {
    const now = Date.now();
    if (this.phase === "connecting" && now - this.#beganAt > CONNECT_PATIENCE) return this.#drop();
    if (this.phase !== "open") return;
    const unanswered = this.#pingedAt > this.#aliveAt;
    if (unanswered && now - this.#pingedAt > PONG_PATIENCE) return this.#drop();
    if (!unanswered && now - this.#aliveAt > PING_AFTER) this.#ping();
  }

  #ping() {
    this.#pingedAt = Date.now();
    this.#socket?.send(JSON.stringify({ type: "ping", timestamp: this.#pingedAt / 1000 }));
  }

  #drop() {
    this.#leave(ABNORMAL);
    this.#closed(ABNORMAL);
  }

  /** @param {number} code for our own side; the edge needs none */
  #leave(code) {
    const socket = this.#socket;
    this.#socket = null;
    this.code = code;
    socket?.close(); // on a dead link this takes its time; nobody listens any more
  }

  /** What was begun before the network was back may wait for an answer that was lost. */
  #online() {
    if (this.phase === "connecting") {
      this.#leave(ABNORMAL);
      this.#connect();
    } else {
      this.#wake();
    }
  }

  /** The network is back, or someone looks: no reason to wait any longer, unless the edge asked for it. */
  #wake() {
    if (this.phase === "waiting") this.#connect();
    else if (this.phase === "open" && Date.now() - this.#aliveAt > 3000) this.#ping();
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.phase = phase;
    this.dispatchEvent(new Event("phase"));
  }
}
