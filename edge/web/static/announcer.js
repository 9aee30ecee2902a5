// @ts-check
// Announcements for screen readers, at most every 30 s. Pure: no DOM, no clock.

import { confidenceWord, dollars } from "./format.js";
import { say } from "./language.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./state.js").State} State */

const INTERVAL = 30_000; // ms
const MIN_MOVE = 0.0025; // a smaller price move is not worth an interruption

export class Announcer {
  #at = -Infinity;
  #state = "";
  #price = 0;

  /**
   * The text to announce now; empty for none.
   * @param {Snapshot | null} s @param {State} state @param {number} now Date.now()
   */
  next(s, state, now) {
    if (state.name === "connecting") return ""; // a state worth announcing follows soon
    const price = s?.price ?? 0;
    const moved = Math.abs(price - this.#price) > MIN_MOVE * this.#price;
    const kind = state.advice ? `${state.name}, with advice` : state.name;
    if (Math.abs(now - this.#at) < INTERVAL || (kind === this.#state && !moved)) return "";
    [this.#at, this.#state, this.#price] = [now, kind, price];
    const words = s && price > 0 ? say("announcePrice", { price: dollars(price), word: confidenceWord(s.confidence) }) : "";
    return [words, say("announceState", { words: state.words }), state.advice ?? ""].filter(Boolean).join(" ");
  }
}
