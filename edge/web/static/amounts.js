// @ts-check
// The round amounts of points. The stream omits them, so they are fetched from the edge when needed.

import { load } from "./history.js";

/** @typedef {import("./points.js").AmountEntry} AmountEntry */

const INTERVAL = 1000; // ms between two requests: an edge has nothing newer meanwhile
const TRIES = 3; // for a point that was just received: an edge has its amount after two seconds

/** @param {string} path @returns {Promise<AmountEntry[] | null>} */
const loadPoints = async (path) => (await load(path))?.points ?? null;

export class Amounts {
  #requestedAt = -Infinity;
  #triesLeft = 0;
  #running = false;

  /**
   * @param {import("./points.js").Points} points
   * @param {() => boolean} needed whether a reader waits for an amount that an edge may have
   * @param {() => void} onUpdate called when there may be new amounts
   * @param {{fetchPoints?: (path: string) => Promise<AmountEntry[] | null>, now?: () => number}} means now: ms, monotonic
   */
  constructor(points, needed, onUpdate, { fetchPoints = loadPoints, now = () => performance.now() } = {}) {
    this.points = points;
    this.needed = needed;
    this.onUpdate = onUpdate;
    this.fetchPoints = fetchPoints;
    this.now = now;
  }

  /** Fetches amounts while one is needed, a few times at most. */
  async find() {
    this.#triesLeft = TRIES;
    if (this.#running) return;
    this.#running = true;
    while (this.#triesLeft-- > 0 && this.needed()) {
      while (this.#wait > 0) await new Promise((then) => setTimeout(then, this.#wait));
      if (this.needed()) await this.update();
    }
    this.#running = false;
  }

  /** Fetches the unknown amounts of the newest points, unless the last request was just now. */
  async update() {
    const since = Math.ceil(this.points.lackingSince) - 1; // the response has later points only
    if (since === Infinity || this.#wait > 0) return;
    this.#requestedAt = this.now();
    this.points.setAmounts(await this.fetchPoints(`api/v1/points?since=${Math.max(0, since)}`) ?? []);
    this.onUpdate();
  }

  /** The time until the next request is allowed, in ms. */
  get #wait() {
    return Math.max(0, this.#requestedAt + INTERVAL - this.now());
  }
}
