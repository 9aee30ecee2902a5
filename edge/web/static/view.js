// @ts-check
// The time range of the chart: the newest, or one chosen by the reader. Pure: no DOM, no clock.

const SHORTEST = 10; // seconds
const LONGEST = 2 * 24 * 3600; // as far as the history goes back

/** @typedef {{from: number, to: number}} Range unix seconds */

export class View {
  /** @type {Range | null} that the reader chose */ #chosen = null;
  /** @type {Range} as last drawn */ range = { from: 0, to: 0 };
  /** The times of the newest snapshot and of the oldest data. */
  limits = { oldest: 0, now: 0 };
  paused = false;

  get following() {
    return this.#chosen === null;
  }

  /** @param {number} span seconds to show unless the reader chose a range */
  update(span) {
    this.range = this.#chosen ?? { from: this.limits.now - span, to: this.limits.now };
    return this.range;
  }

  /** @param {number} factor under 1 zooms in @param {number} at the time that keeps its place */
  zoom(factor, at) {
    const { from, to } = this.range;
    const longest = Math.min(LONGEST, Math.max(to - from, 1.1 * (this.limits.now - this.limits.oldest)));
    const span = Math.min(longest, Math.max(SHORTEST, (to - from) * factor));
    const start = at - ((at - from) / (to - from)) * span;
    this.choose({ from: start, to: start + span });
  }

  /** @param {number} seconds to the future */
  pan(seconds) {
    const { from, to } = this.range;
    this.choose({ from: from + seconds, to: to + seconds });
  }

  /** Some data always stays visible. @param {Range} range */
  choose({ from, to }) {
    const { oldest, now } = this.limits;
    const span = to - from;
    const end = now > 0 ? Math.max(oldest + span / 4, Math.min(to, now + span / 20)) : to;
    this.#chosen = this.range = { from: end - span, to: end };
  }

  live() {
    this.#chosen = null;
    this.paused = false;
  }

  /** Pausing chooses the current range. */
  pause() {
    this.#chosen = this.range;
    this.paused = true;
  }
}
