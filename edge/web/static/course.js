// @ts-check
// The estimate's course: what the edge remembers of it, and then what comes live.

/** @typedef {[timestamp: number, price: number, low: number, high: number, confidence: number]} Entry */

const ROOM = 1 << 15; // a day of the history and six hours of every second
const COARSE = 10; // seconds, as in the history; what is old needs no more

export class Course {
  #columns = [0, 1, 2, 3].map(() => new Float64Array(ROOM)); // time, price, low, high
  length = 0;

  /** Time, price, low and high, each as one array, of now. */
  get columns() {
    return this.#columns.map((c) => c.subarray(0, this.length));
  }

  /** @param {number} i */
  time(i) { return this.#columns[0][i]; }
  /** @param {number} i */
  price(i) { return this.#columns[1][i]; }
  /** @param {number} i */
  low(i) { return this.#columns[2][i]; }
  /** @param {number} i */
  high(i) { return this.#columns[3][i]; }

  /**
   * The newest, one for each second.
   * @param {number} t @param {number} price @param {number} low @param {number} high
   */
  add(t, price, low, high) {
    const last = this.length - 1;
    if (last >= 0 && t <= this.time(last)) return;
    const sameSecond = last > 0 && Math.floor(t) === Math.floor(this.time(last));
    if (!sameSecond && this.length === ROOM) this.#thin();
    this.#set(sameSecond ? this.length - 1 : this.length++, t, price, low, high);
  }

  /** Puts entries in the place of all that is in their time. @param {Entry[]} entries oldest first */
  merge(entries) {
    const known = entries.filter((e) => e[1] > 0).slice(-ROOM / 2);
    if (known.length === 0) return;
    const before = this.#columns.map((c) => c.slice(0, this.firstAt(known[0][0])));
    const after = this.#columns.map((c) => c.slice(this.firstAt(known[known.length - 1][0] + 1), this.length));
    const room = Math.max(0, ROOM - known.length - after[0].length);
    before.forEach((c, k) => {
      const all = [...c.slice(-room || c.length), ...known.map((e) => e[k]), ...after[k]].slice(-ROOM);
      this.#columns[k].set(all);
      this.length = all.length;
    });
  }

  /** The first that is not before t; length if there is none. @param {number} t */
  firstAt(t) {
    const times = this.#columns[0];
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (times[middle] < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * The price at t, if an estimate is known from at most patience seconds before or after; else 0.
   * @param {number} t
   */
  priceAt(t, patience = 120) {
    const after = this.firstAt(t);
    const near = [after - 1, after].filter((i) => i >= 0 && i < this.length && this.#off(i, t) <= patience);
    near.sort((i, j) => this.#off(i, t) - this.#off(j, t));
    return near.length > 0 ? this.price(near[0]) : 0;
  }

  /** @param {number} i @param {number} t */
  #off(i, t) {
    return Math.abs(this.time(i) - t);
  }

  /** Keeps of the older half one for each 10 s; if that makes little room, lets the oldest go: a day stays. */
  #thin() {
    let kept = 0;
    for (let i = 0; i < this.length; i++) {
      const replaced = i + 1 < ROOM / 2 && Math.floor(this.time(i) / COARSE) === Math.floor(this.time(i + 1) / COARSE);
      if (!replaced) this.#set(kept++, this.time(i), this.price(i), this.low(i), this.high(i));
    }
    this.length = kept;
    if (kept < 0.9 * ROOM) return;
    for (const c of this.#columns) c.copyWithin(0, ROOM / 8, kept);
    this.length = kept - ROOM / 8;
  }

  /** @param {number} i @param {number} t @param {number} price @param {number} low @param {number} high */
  #set(i, t, price, low, high) {
    const [times, prices, lows, highs] = this.#columns;
    times[i] = t;
    prices[i] = price;
    lows[i] = low;
    highs[i] = high;
  }
}
