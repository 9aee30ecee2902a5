// @ts-check
// All points that this page has received, oldest first, in typed arrays: adding and dropping points allocates nothing.

/**
 * @typedef {import("./client.js").Point} Point
 * @typedef {[timestamp: number, price: number, amount: number]} AmountEntry a point and its round amount in USD
 */

/** The maximum number of points that are stored and drawn. */
export const MAX_POINTS = 20_000;

const NEWEST = 1000; // points of a snapshot; an edge has the amounts of these only

export class Points {
  #times = new Float64Array(2 * MAX_POINTS); // unix seconds; twice the capacity, so that stored points are always contiguous
  #prices = new Float64Array(2 * MAX_POINTS);
  #amounts = new Float32Array(2 * MAX_POINTS); // 0: unknown
  #start = 0;
  #end = 0;

  get length() {
    return this.#end - this.#start;
  }

  /** @param {number} i from 0, the oldest */
  time(i) {
    return this.#times[this.#start + i];
  }

  /** @param {number} i */
  price(i) {
    return this.#prices[this.#start + i];
  }

  /** The round amount in USD; 0 if unknown. @param {number} i */
  amount(i) {
    return this.#amounts[this.#start + i];
  }

  /** Whether the amount is unknown, but an edge may have it. @param {number} i */
  lacksAmount(i) {
    return i >= Math.max(0, this.length - NEWEST) && i < this.length && this.amount(i) === 0;
  }

  /** The time of the oldest such point; Infinity if there is none. */
  get lackingSince() {
    for (let i = Math.max(0, this.length - NEWEST); i < this.length; i++) if (this.lacksAmount(i)) return this.time(i);
    return Infinity;
  }

  /** Sets amounts of points; entries of unknown points are ignored. @param {AmountEntry[]} entries oldest first */
  setAmounts(entries) {
    let next = 0; // points with equal time and price have an amount each
    for (const [t, price, amount] of entries) {
      let i = Math.max(next, this.firstAt(t));
      while (i < this.length && this.time(i) === t && this.price(i) !== price) i++;
      if (i >= this.length || this.time(i) !== t) continue;
      this.#amounts[this.#start + i] = amount;
      next = i + 1;
    }
  }

  /**
   * Adds a snapshot's points. If they continue the stored ones, only the new points are added. If not, they replace
   * everything in their time: a payment was removed, or the estimate moved and with it the prices that payments imply.
   * @param {Point[]} newest oldest first
   */
  update(newest) {
    if (newest.length === 0) return;
    let known = this.#matching(newest);
    if (known === 0) this.#end = this.#start + this.firstAt(newest[0].timestamp);
    for (; known < newest.length; known++) this.#add(newest[known]);
  }

  /** The first point that is not before t; length if there is none. @param {number} t */
  firstAt(t) {
    let [low, high] = [this.#start, this.#end];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#times[middle] < t) low = middle + 1;
      else high = middle;
    }
    return low - this.#start;
  }

  /** How many of newest, from its first on, are the last stored points; 0 if they do not match. @param {Point[]} newest */
  #matching(newest) {
    let count = newest.length;
    while (count > 0 && !this.#isAt(this.#end - 1, newest[count - 1])) count--;
    for (let i = 1; i < count; i++) {
      if (!this.#isAt(this.#end - 1 - i, newest[count - 1 - i])) return 0;
    }
    return count;
  }

  /** @param {number} k @param {Point} point */
  #isAt(k, point) {
    return k >= this.#start && this.#times[k] === point.timestamp && this.#prices[k] === point.price;
  }

  /** @param {Point} point */
  #add(point) {
    if (this.#end === this.#times.length) this.#moveDown();
    this.#times[this.#end] = point.timestamp;
    this.#prices[this.#end] = point.price;
    this.#amounts[this.#end++] = 0;
    if (this.length > MAX_POINTS) this.#start++;
  }

  #moveDown() {
    for (const column of [this.#times, this.#prices, this.#amounts]) column.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }
}
