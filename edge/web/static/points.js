// @ts-check
// All points that this page has seen, oldest first, in typed arrays: nothing is allocated while they come and go.

/**
 * @typedef {import("./client.js").Point} Point
 * @typedef {[timestamp: number, price: number, amount: number]} Round a point, and the round amount that it is, in USD
 */

/** The most that are kept, and so drawn. */
export const MOST = 20_000;

const NEWEST = 1000; // points of a snapshot; an edge knows the amounts of no others

export class Points {
  #times = new Float64Array(2 * MOST); // unix seconds; twice the room, so that the kept ones always are in one piece
  #prices = new Float64Array(2 * MOST);
  #amounts = new Float32Array(2 * MOST); // 0: not known
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

  /** The round amount in USD; 0 if it is not known. @param {number} i */
  amount(i) {
    return this.#amounts[this.#start + i];
  }

  /** Whether an edge may know what is not known here. @param {number} i */
  isOpen(i) {
    return i >= Math.max(0, this.length - NEWEST) && i < this.length && this.amount(i) === 0;
  }

  /** The time of the oldest such point; Infinity if there is none. */
  get openSince() {
    for (let i = Math.max(0, this.length - NEWEST); i < this.length; i++) if (this.isOpen(i)) return this.time(i);
    return Infinity;
  }

  /** Takes in amounts of points; those of others are passed over. @param {Round[]} rounds oldest first, like the points */
  learn(rounds) {
    let next = 0; // of points that are alike, each has an amount of its own
    for (const [t, price, amount] of rounds) {
      let i = Math.max(next, this.firstAt(t));
      while (i < this.length && this.time(i) === t && this.price(i) !== price) i++;
      if (i >= this.length || this.time(i) !== t) continue;
      this.#amounts[this.#start + i] = amount;
      next = i + 1;
    }
  }

  /**
   * Takes in a snapshot's points. If they go on from what is there, only the new ones are added. If not, they replace
   * all of their time: a payment was taken back, or the estimate moved and with it what payments imply.
   * @param {Point[]} newest oldest first
   */
  follow(newest) {
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

  /** How many of newest, from its first on, are the last ones here; 0 if they do not fit. @param {Point[]} newest */
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
    if (this.length > MOST) this.#start++;
  }

  #moveDown() {
    for (const column of [this.#times, this.#prices, this.#amounts]) column.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }
}
