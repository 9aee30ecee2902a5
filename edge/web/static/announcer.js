// @ts-check
// What those hear who listen instead of looking: what is new, and seldom. Pure: no DOM, no clock.

import { confidenceWord, dollars } from "./format.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./state.js").State} State */

const EVERY = 30_000; // ms
const MOVE = 0.0025; // a smaller move of the price is not worth interrupting anyone for

export class Announcer {
  #at = -Infinity;
  #state = "";
  #price = 0;

  /**
   * What to say now; empty for nothing.
   * @param {Snapshot | null} s @param {State} state @param {number} now Date.now()
   */
  next(s, state, now) {
    if (state.name === "connecting") return ""; // soon it will be something worth saying
    const price = s?.price ?? 0;
    const moved = Math.abs(price - this.#price) > MOVE * this.#price;
    if (now - this.#at < EVERY || (state.name === this.#state && !moved)) return "";
    [this.#at, this.#state, this.#price] = [now, state.name, price];
    const words = s && price > 0 ? `One bitcoin: ${dollars(price)}, confidence ${confidenceWord(s.confidence)}. ` : "";
    return `${words}Connection: ${state.words}.`;
  }
}
