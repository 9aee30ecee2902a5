// @ts-check
// The time range of the chart: the newest, or one chosen by the reader. Pure: no DOM, no clock.

const SHORTEST = 10; // seconds

/** @typedef {{from: number, to: number}} Range unix seconds */

export class View {
  /** @type {Range | null} that the reader chose */ #chosen = null;
  /** @type {Range} as last drawn */ range = { from: 0, to: 0 };
  /**
   * The times of the newest snapshot, of the oldest loaded data, and of the beginning of the history, which is 0 until it
   * is known.
   */
  limits = { oldest: 0, now: 0, begin: 0 };
  /** The length of the newest range, in seconds; 0: that of the points; Infinity: everything. */
  span = 0;
  paused = false;

  get following() {
    return this.#chosen === null;
  }

  /** Whether the range is the points' own. */
  get live() {
    return this.following && this.span === 0;
  }

  /** Whether the range would be longer if there were older data. */
  get isCut() {
    const { now, begin } = this.limits;
    return !this.live && begin > (this.following ? now - this.span : this.range.from);
  }

  /** @param {number} span of the points, in seconds */
  update(span) {
    const { now, begin, oldest } = this.limits;
    const from = this.span === 0 ? now - span : Math.max(now - this.span, begin || (this.span === Infinity ? oldest : 0));
    this.range = this.#chosen ?? { from: Math.min(from, now - SHORTEST), to: now };
    return this.range;
  }

  /** @param {number} factor under 1 zooms in @param {number} at the time that keeps its place */
  zoom(factor, at) {
    const { from, to } = this.range;
    const longest = Math.max(to - from, 1.1 * (this.limits.now - this.limits.oldest));
    const span = Math.min(longest, Math.max(SHORTEST, (to - from) * factor));
    const start = at - ((at - from) / (to - from)) * span;
    this.#move({ from: start, to: start + span });
  }

  /** @param {number} seconds to the future */
  pan(seconds) {
    const { from, to } = this.range;
    this.#move({ from: from + seconds, to: to + seconds });
  }

  /** Some data always stays visible. @param {Range} range */
  #move({ from, to }) {
    const { oldest, now } = this.limits;
    const span = to - from;
    const end = Math.max(oldest + span / 4, Math.min(to, now + span / 20));
    this.choose({ from: end - span, to: end });
  }

  /** @param {Range} range */
  choose(range) {
    this.#chosen = this.range = range;
  }

  /** Shows the newest range of a length, and continues if it was paused. @param {number} span see the field */
  follow(span) {
    this.span = span;
    this.#chosen = null;
    this.paused = false;
  }

  /** Pausing chooses the current range. */
  pause() {
    this.#chosen = this.range;
    this.paused = true;
  }
}
