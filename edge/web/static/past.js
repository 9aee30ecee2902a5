// @ts-check
// The history before the last day. Each range that is shown is loaded once, in steps that suit it, and kept. Pure: no DOM,
// no clock.

import { Series } from "./history.js";

/** @typedef {import("./view.js").Range} Range */

/**
 * @typedef {object} Part of the history
 * @property {number} from unix seconds; 0: all of the history
 * @property {number} to when it was loaded, or earlier
 * @property {number} loadedAt unix seconds, by the edge's clock
 * @property {number} step
 * @property {number} asked the step that was asked for; the edge may have raised it
 * @property {Series} series
 */

const HOUR = 3600;
export const DAY = 24 * HOUR;

/** Seconds between two entries that are asked for. */
const STEPS = [10, 20, 30, 60, 120, 300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 4 * DAY, 8 * DAY, 16 * DAY];
const ENTRIES = 1000; // of a range at most; as STEPS are chosen, at least 400
const MOST = 2000; // entries of a response
const PARTS = 8; // that are kept
const FRESH = 300; // seconds after which a part is loaded again
const RETRY = 10; // seconds after a failure
const RECENT_GAP = 150; // seconds: over two steps of the last day, which has an entry a minute

/**
 * The history is coarser the older it is: about how far apart its entries are, at most and but for gaps, from an age on.
 * Blocks are rarely more than 40 minutes apart; candles follow, of hours and then of days.
 */
const SPACINGS = [
  { age: 730 * DAY, spacing: DAY },
  { age: 30 * DAY, spacing: HOUR },
  { age: 2 * DAY, spacing: 40 * 60 },
];

/** The step of a range, in seconds. @param {number} span */
export const stepFor = (span) => STEPS.find((s) => span / s <= ENTRIES) ?? STEPS[STEPS.length - 1];

/** How far apart the entries of a time are at most, in seconds. @param {number} age @param {number} step of the range */
export const spacingOf = (age, step) => Math.max(step, SPACINGS.find((s) => age > s.age)?.spacing ?? 0);

/** The time without an entry that is a gap: more than a few steps. @param {number} age @param {number} step */
export const gapOf = (age, step) => Math.max(RECENT_GAP, 3.5 * spacingOf(age, step));

export class Past {
  /** @type {Part[]} the last shown at the end */ #parts = [];
  #loading = false;
  #failedAt = -Infinity;
  #line = new Series(2 * MOST);

  /** The time of the history's first entry; 0 until it is known. */
  begin = 0;

  /** The step of the line that was last drawn. */
  step = 0;

  /**
   * @param {(query: string) => Promise<import("./history.js").Answer | null>} load
   * @param {() => void} onLoad called when a request has ended
   */
  constructor(load, onLoad) {
    this.load = load;
    this.onLoad = onLoad;
  }

  /** The time of the oldest loaded entry; Infinity if there is none. */
  get oldest() {
    return Math.min(...this.#parts.map((p) => p.series.length > 0 ? p.series.time(0) : Infinity));
  }

  /** @type {"" | "loading" | "failed"} */
  get state() {
    if (this.#failedAt > 0) return "failed";
    return this.#loading ? "loading" : "";
  }

  /**
   * What must be loaded to show a range; null if nothing is missing.
   * @param {Range} range from 0: everything @param {number} now @param {number} recent since when the last day is known
   * @returns {Range & {step: number} | null}
   */
  missing({ from, to }, now, recent) {
    const [first, end] = [Math.max(from, this.begin), Math.min(to, now)];
    if (end <= this.begin || (first > 0 && recent <= first + RECENT_GAP)) return null;
    const step = first > 0 ? stepFor(end - first) : STEPS[0]; // the edge raises it
    const part = this.#parts.find((p) => now - p.loadedAt < FRESH && this.#covers(p, first, end) && this.#isFine(p, end - first, step));
    if (!part) return { from: first > this.begin ? first : 0, to: end, step };
    const late = (part.series.length > 0 ? Math.max(part.series.time(0), first) : end) - first;
    if (this.begin > 0 || part.from === 0 || late <= gapOf(now - first, part.step)) return null;
    return { from: 0, to: now, step: STEPS[0] }; // it has a gap at its beginning, or the history begins there
  }

  /** @param {Part} part @param {number} from @param {number} to */
  #covers(part, from, to) {
    return part.from <= from && part.to + FRESH >= to;
  }

  /** Whether the part has the step, or is what the edge has of such a range. @param {Part} part @param {number} span @param {number} step */
  #isFine(part, span, step) {
    return part.step <= step || (part.asked <= step && part.to - Math.max(part.from, this.begin) <= 2.5 * span);
  }

  /**
   * Loads what is missing to show a range. After the response, onLoad calls this again.
   * @param {Range} range from 0: everything @param {number} now @param {number} recent
   * @param {number} margin seconds to load on either side as well
   */
  async need(range, now, recent, margin) {
    if (this.#loading || now - this.#failedAt < RETRY) return;
    const wanted = this.missing(range, now, recent);
    if (!wanted) return;
    this.#loading = true;
    const { step } = wanted;
    const from = Math.max(0, Math.floor((wanted.from - margin) / step) * step); // within a step, all readers ask for the same
    const to = Math.min(now, wanted.to + margin);
    const answer = await this.load(`from=${from}${to < now ? `&to=${Math.ceil(to)}` : ""}&step=${step}`);
    this.#loading = false;
    this.#failedAt = answer ? -Infinity : now;
    if (answer) this.#add(answer, { from, to, asked: step, loadedAt: now });
    this.onLoad();
  }

  /** @param {import("./history.js").Answer} answer @param {Pick<Part, "from" | "to" | "asked" | "loadedAt">} request */
  #add({ step, points }, request) {
    const part = { ...request, step, series: Series.of(points.filter((e) => e[1] > 0).slice(-MOST)) };
    if (part.from === 0 && part.series.length > 0) this.begin = part.series.time(0);
    const isReplaced = (/** @type {Part} */ p) => p.step >= step && p.asked >= part.asked && p.from >= part.from && p.to <= part.to;
    this.#parts = this.#parts.filter((p) => !isReplaced(p)).slice(1 - PARTS);
    this.#parts.push(part);
  }

  /**
   * The line of a range: the finest part that covers it, or has most of it, continued by the last day's entries.
   * @param {Range} range @param {number} now @param {Series} recent
   */
  line({ from, to }, now, recent) {
    const line = this.#line;
    line.length = 0;
    const first = Math.max(from, this.begin);
    const inRecent = recent.length > 0 && recent.time(0) <= first + RECENT_GAP;
    const part = inRecent ? null : this.#best(first, Math.min(to, now));
    this.step = Math.max(part?.step ?? 0, stepFor(to - from));
    if (part) this.#copy(part.series, from, to);
    this.#thin(recent, Math.max(from - this.step, line.length > 0 ? line.time(line.length - 1) : 0), to + this.step);
    return line;
  }

  /** @param {number} from @param {number} to @returns {Part | null} */
  #best(from, to) {
    const shared = (/** @type {Part} */ p) => Math.min(p.to, to) - Math.max(p.from, from);
    const covering = this.#parts.filter((p) => this.#covers(p, from, to));
    const best = covering.length > 0
      ? covering.reduce((a, b) => (b.step < a.step ? b : a))
      : this.#parts.reduce((a, b) => (a && shared(a) >= shared(b) ? a : b), /** @type {Part | null} */ (null));
    if (!best || shared(best) <= 0) return null;
    this.#parts.push(...this.#parts.splice(this.#parts.indexOf(best), 1));
    return best;
  }

  /** Copies the entries of a range, and one more at each end: the line leads there. @param {Series} series @param {number} from @param {number} to */
  #copy(series, from, to) {
    const [first, end] = [Math.max(0, series.firstAt(from) - 1), Math.min(series.length, series.firstAt(to) + 1)];
    this.#line.stored.forEach((c, k) => c.set(series.stored[k].subarray(first, end)));
    this.#line.length = Math.max(0, end - first);
  }

  /** Adds the last entry of each step after a time. @param {Series} series @param {number} after @param {number} to */
  #thin(series, after, to) {
    const line = this.#line;
    let slot = NaN; // that of the last added entry
    for (let i = series.firstAt(after); i < series.length && series.time(i) <= to && line.length < 2 * MOST; i++) {
      if (series.time(i) === after) continue;
      if (Math.floor(series.time(i) / this.step) === slot) line.length--;
      slot = Math.floor(series.time(i) / this.step);
      line.push(series.time(i), series.price(i), series.low(i), series.high(i));
    }
  }
}
