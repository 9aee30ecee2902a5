// @ts-check
// The price's history: series of it, and the one of the last day, which the edge has and the stream extends.

/** @typedef {[timestamp: number, price: number, low: number, high: number, confidence: number]} Entry */

/** @typedef {{step: number, points: Entry[]}} Answer of the edge */

const CAPACITY = 1 << 15; // a day at 10 s and six hours at 1 s
const COARSE = 10; // seconds between old entries, as in the edge's history
const FULL_SPAN = 3600; // seconds that are loaded in full resolution
const COARSE_STEP = 60;

/** Prices and their intervals, oldest first, in typed arrays. */
export class Series {
  length = 0;

  /** @param {number} capacity */
  constructor(capacity) {
    this.stored = [0, 1, 2, 3].map(() => new Float64Array(capacity)); // time, price, low, high
  }

  /** @param {Entry[]} entries oldest first */
  static of(entries) {
    const series = new Series(entries.length);
    for (const [t, price, low, high] of entries) series.push(t, price, low, high);
    return series;
  }

  /** The current times, prices, lows and highs, one array each. */
  get columns() {
    return this.stored.map((c) => c.subarray(0, this.length));
  }

  /** @param {number} i */
  time(i) { return this.stored[0][i]; }
  /** @param {number} i */
  price(i) { return this.stored[1][i]; }
  /** @param {number} i */
  low(i) { return this.stored[2][i]; }
  /** @param {number} i */
  high(i) { return this.stored[3][i]; }

  /** The first entry that is not before t; length if there is none. @param {number} t */
  firstAt(t) {
    const times = this.stored[0];
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (times[middle] < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The entry that is nearest in time; -1 if there is none. @param {number} t */
  nearest(t) {
    const after = this.firstAt(t);
    return after > 0 && (after === this.length || t - this.time(after - 1) <= this.time(after) - t) ? after - 1 : Math.min(after, this.length - 1);
  }

  /** @param {number} t @param {number} price @param {number} low @param {number} high */
  push(t, price, low, high) {
    this.set(this.length++, t, price, low, high);
  }

  /** @param {number} i @param {number} t @param {number} price @param {number} low @param {number} high */
  set(i, t, price, low, high) {
    const [times, prices, lows, highs] = this.stored;
    times[i] = t;
    prices[i] = price;
    lows[i] = low;
    highs[i] = high;
  }
}

/** The last day. */
export class PriceHistory extends Series {
  constructor() {
    super(CAPACITY);
  }

  /**
   * Adds the newest entry; it replaces the last one of the same second.
   * @param {number} t @param {number} price @param {number} low @param {number} high
   */
  add(t, price, low, high) {
    const last = this.length - 1;
    if (last >= 0 && t <= this.time(last)) return;
    const sameSecond = last > 0 && Math.floor(t) === Math.floor(this.time(last));
    if (!sameSecond && this.length === CAPACITY) this.#thin();
    this.set(sameSecond ? this.length - 1 : this.length++, t, price, low, high);
  }

  /** Replaces everything in the time of the entries. @param {Entry[]} entries oldest first */
  merge(entries) {
    const known = entries.filter((e) => e[1] > 0).slice(-CAPACITY / 2);
    if (known.length === 0) return;
    const before = this.stored.map((c) => c.slice(0, this.firstAt(known[0][0])));
    const after = this.stored.map((c) => c.slice(this.firstAt(known[known.length - 1][0] + 1), this.length));
    const free = Math.max(0, CAPACITY - known.length - after[0].length);
    before.forEach((c, k) => {
      const all = [...c.slice(-free || c.length), ...known.map((e) => e[k]), ...after[k]].slice(-CAPACITY);
      this.stored[k].set(all);
      this.length = all.length;
    });
  }

  /**
   * The price at t: that of the nearest entry if it is at most tolerance seconds away, else 0.
   * @param {number} t
   */
  priceAt(t, tolerance = 120) {
    const i = this.nearest(t);
    return i >= 0 && Math.abs(this.time(i) - t) <= tolerance ? this.price(i) : 0;
  }

  /** Thins the older half to one entry per 10 s. If that frees little, drops the oldest entries: a day remains. */
  #thin() {
    let count = 0;
    for (let i = 0; i < this.length; i++) {
      const replaced = i + 1 < CAPACITY / 2 && Math.floor(this.time(i) / COARSE) === Math.floor(this.time(i + 1) / COARSE);
      if (!replaced) this.set(count++, this.time(i), this.price(i), this.low(i), this.high(i));
    }
    this.length = count;
    if (count < 0.9 * CAPACITY) return;
    for (const c of this.stored) c.copyWithin(0, CAPACITY / 8, count);
    this.length = count - CAPACITY / 8;
  }
}

/**
 * Loads a day of history by the edge's clock: first an entry a minute, which loads quickly, then the last hour in full
 * resolution.
 * @param {(entries: Entry[]) => void} add called twice
 * @returns {Promise<boolean>} whether it was loaded
 */
export async function loadDay(add) {
  const day = (await loadHistory(`step=${COARSE_STEP}`))?.points;
  if (!day) return false;
  add(day);
  if (day.length > 0) await loadSince(day[day.length - 1][0] - FULL_SPAN, add);
  return true;
}

/** @param {number} from unix seconds @param {(entries: Entry[]) => void} add */
export async function loadSince(from, add) {
  const answer = await loadHistory(`from=${Math.max(0, Math.floor(from))}`);
  if (answer) add(answer.points);
}

/** @param {string} query @returns {Promise<Answer | null>} */
export const loadHistory = (query) => load(`api/v1/history?${query}`);

/**
 * A response; null if the request failed.
 * @param {string} path of the edge's API, relative to the page
 * @returns {Promise<any>}
 */
export async function load(path) {
  try {
    const response = await fetch(path);
    return response.ok ? await response.json() : null;
  } catch {
    return null; // the stream's state already shows that the edge does not respond
  }
}
