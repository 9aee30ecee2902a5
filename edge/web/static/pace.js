// @ts-check
// How long it takes until there are enough payments for a price. Pure: no DOM, no clock.

/** @typedef {import("./client.js").Snapshot} Snapshot */

/** With so many payments 93 % of cold starts are within 1 %: docs/price-engine.md. */
export const ENOUGH = 500;

const SPAN = 180; // seconds from which the pace is measured
const MIN_SPAN = 20; // in less, chance decides the pace
const STEP = 1; // seconds between two marks

export class Pace {
  #epoch = "";
  /** @type {[timestamp: number, payments: number][]} oldest first */ #marks = [];

  /** @param {Snapshot} s */
  add(s) {
    const last = this.#marks.at(-1);
    if (s.epoch !== this.#epoch || (last && s.timestamp < last[0])) this.#marks = []; // another ingester, or its clock was set
    else if (last && s.timestamp - last[0] < STEP) return;
    this.#epoch = s.epoch;
    this.#marks.push([s.timestamp, s.stats.active_in_window]);
    while (this.#marks[0][0] < s.timestamp - SPAN) this.#marks.shift();
  }

  /** The time until there are enough at the pace of the last minutes; 0 if that is not known, or there are. */
  get secondsLeft() {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)];
    if (!first || !last || last[0] - first[0] < MIN_SPAN) return 0;
    const rate = (last[1] - first[1]) / (last[0] - first[0]);
    return rate > 0 ? Math.max(0, (ENOUGH - last[1]) / rate) : 0;
  }
}
