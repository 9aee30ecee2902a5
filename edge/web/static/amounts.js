// @ts-check
// Which round amount each point is. The stream does not tell, so the edge is asked when a reader wants to know.

import { load } from "./history.js";

/** @typedef {import("./points.js").Round} Round */

const EVERY = 1000; // ms between two questions: an edge has nothing newer meanwhile
const TRIES = 3; // for what came just now: an edge knows it after two seconds

export class Amounts {
  #askedAt = -Infinity;
  #tries = 0; // that are left
  #asking = false;

  /**
   * @param {import("./points.js").Points} points
   * @param {() => boolean} wanted whether a reader waits for an amount that may be known
   * @param {() => void} learned called when there may be new ones
   * @param {{ask?: (path: string) => Promise<Round[] | null>, now?: () => number}} means now in ms, and never back
   */
  constructor(points, wanted, learned, { ask = load, now = () => performance.now() } = {}) {
    this.points = points;
    this.wanted = wanted;
    this.learned = learned;
    this.ask = ask;
    this.now = now;
  }

  /** Asks for as long as an amount is wanted, a few times at most. */
  async find() {
    this.#tries = TRIES;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#tries-- > 0 && this.wanted()) {
      while (this.#wait > 0) await new Promise((then) => setTimeout(then, this.#wait));
      if (this.wanted()) await this.update();
    }
    this.#asking = false;
  }

  /** Asks for all that is not known of the newest points, unless it was asked just now. */
  async update() {
    const since = Math.ceil(this.points.openSince) - 1; // what is asked for is later
    if (since === Infinity || this.#wait > 0) return;
    this.#askedAt = this.now();
    this.points.learn(await this.ask(`api/v1/points?since=${Math.max(0, since)}`) ?? []);
    this.learned();
  }

  /** How long another question has to wait, in ms. */
  get #wait() {
    return Math.max(0, this.#askedAt + EVERY - this.now());
  }
}
