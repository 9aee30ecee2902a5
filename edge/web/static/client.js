// @ts-check
// The stream of snapshots: one WebSocket, kept up for as long as the page lives.

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
 * @typedef {object} Snapshot
 * @property {number} price USD, 0 while there is none
 * @property {number} confidence 0 to 1
 * @property {Point[]} transactions oldest first
 * @property {Stats} stats
 * @property {number} timestamp unix seconds, by the ingester's clock
 * @property {number} low
 * @property {number} high
 * @property {"warming" | "live" | "stale"} status
 *
 * @typedef {"connecting" | "open" | "waiting" | "refused" | "closed"} Phase
 */

/** What the edge's close codes ask of a client; all others: reconnect. */
const FINAL = new Set([1003, 1008, 1009]);
const TOO_MANY = 4029;

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
 * @param {string} text
 * @returns {any} the message, or null if it is none of ours
 */
export function parse(text) {
  try {
    const message = JSON.parse(text);
    const isSnapshot = typeof message?.price === "number" && Array.isArray(message.transactions) && message.stats;
    return isSnapshot || message?.type === "pong" ? message : null;
  } catch {
    return null;
  }
}

/** Fires "snapshot" for each one, and "phase" when the connection's phase changes. Times are Date.now(). */
export class StreamClient extends EventTarget {
  /** @type {Phase} */ phase = "connecting";
  /** @type {Snapshot | null} the newest */ snapshot = null;
  freshAt = 0; // when it was last known to be fresh
  openedAt = 0; // when this connection opened, 0 before
  goodSince = 0; // when this connection brought its first snapshot, 0 before
  retryAt = 0; // in the phases waiting and refused
  code = 0; // of the last close

  /** @type {WebSocket | null} */ #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #attempt = 0;
  #beganAt = 0;
  #aliveAt = 0; // when anything last came
  #pingedAt = 0;

  /** @param {string | URL} url */
  constructor(url) {
    super();
    this.url = url;
  }

  start() {
    setInterval(() => this.#check(), 1000);
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
    this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#beganAt = Date.now();
    this.openedAt = this.goodSince = this.#pingedAt = 0;
    /** @param {(e: any) => void} then */
    const ifCurrent = (then) => (/** @type {Event} */ e) => socket === this.#socket && then(e);
    socket.onopen = ifCurrent(() => this.#opened());
    socket.onmessage = ifCurrent((e) => this.#take(e.data));
    socket.onclose = ifCurrent((e) => this.#closed(e.code));
    this.#enter("connecting");
  }

  #opened() {
    this.openedAt = this.#aliveAt = Date.now();
    this.#enter("open");
  }

  /** @param {string} text */
  #take(text) {
    this.#aliveAt = Date.now();
    const message = parse(text);
    if (!message || message.type === "pong") return;
    this.goodSince ||= this.#aliveAt;
    this.freshAt = this.#freshness(message, this.#aliveAt);
    this.snapshot = message;
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
    if (FINAL.has(code)) return this.#enter("closed");
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
    const socket = this.#socket;
    this.#closed(1006);
    socket?.close(); // on a dead link this takes its time; nobody listens any more
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
