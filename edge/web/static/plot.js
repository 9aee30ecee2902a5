// @ts-check
// The chart of the view's time range: points, price history, and the price axis that fits them. Points exist for some
// hours at most, so a longer or an older range has the line only.

import { Chart } from "./chart.js";
import { DensityCurve } from "./densitycurve.js";
import { dates, dollars, integer } from "./format.js";
import { say } from "./language.js";
import { gapOf } from "./past.js";
import { PointLayer } from "./pointlayer.js";
import { SAMPLE, TIME_SPANS, UNSURE, priceAxis, priceSpan, steadySpan } from "./scale.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./view.js").Range} Range */
/** @typedef {import("./densitycurve.js").Density} Density */

const MIN_POINTS_SHARE = 0.2; // of a range that has points; less would be a bar at its end
const MAX_FULL_SPAN = 6 * 3600; // seconds of a range whose line has all entries
const MIN_LOG_SPAN = 366 * 24 * 3600; // a longer range has a logarithmic axis
const OUTLIER = 1.3; // the price axis has the band only as far as this times the highest price, and as low
const REACH = 24; // CSS pixels between a pointer and the point that it selects
const MAX_MEASURES = 1000; // of "frame", before they are cleared: the browser never does

export class Plot {
  #timeSpan = 0;
  #priceSpan = 0;
  #price = { low: 0, high: 1 };
  #sample = new Float64Array(SAMPLE);
  #measures = 0;
  #curve = new DensityCurve();

  /** What is drawn as the line; @type {import("./history.js").Series} */ line;
  /** Whether the line is drawn without points. */ lineOnly = false;
  /** Whether the price axis is logarithmic. */ log = false;

  /**
   * @param {HTMLElement} host
   * @param {import("./points.js").Points} points
   * @param {import("./history.js").PriceHistory} history
   * @param {import("./past.js").Past} past
   * @param {import("./view.js").View} view
   */
  constructor(host, points, history, past, view) {
    this.host = host;
    this.points = points;
    this.history = this.line = history;
    this.past = past;
    this.view = view;
    this.pointLayer = new PointLayer(points, history);
    this.chart = new Chart(host, (c, box) => {
      if (this.lineOnly) return;
      this.pointLayer.draw(c, box, view.range, this.#price, this.#pointSize());
      if (view.following) this.#curve.draw(c, box, this.#price, this.ratio);
    });
  }

  /** How many payments imply which prices; it is drawn at the right edge while that is now. @param {Density | null} density */
  set density(density) {
    this.#curve.set(density);
  }

  /** What can be read in the chart: points, or the line's entries. */
  get marks() {
    return this.lineOnly ? this.line : this.points;
  }

  /** Device pixels for a CSS pixel. */
  get ratio() {
    return this.chart.canvas.width / Math.max(1, this.host.clientWidth);
  }

  /** Call it at most once in an animation frame. @param {Snapshot} snapshot */
  draw(snapshot) {
    const start = performance.now();
    const now = snapshot.timestamp;
    this.#setLimits(now);
    const time = this.view.update(this.#followedSpan());
    this.#chooseLine(time, now);
    this.log = time.to - time.from > MIN_LOG_SPAN;
    this.#price = this.lineOnly ? this.#fitLine(time, snapshot) : this.#fitPrice(time, snapshot);
    const tag = this.view.following ? snapshot.price : 0;
    const step = this.line === this.history ? 0 : this.past.step;
    const gap = (/** @type {number} */ t) => gapOf(now - t, step);
    this.chart.draw({ columns: this.line.columns, time, price: this.#price, log: this.log, gap, tag, cut: this.#cut(snapshot), plain: this.lineOnly });
    this.#measure(start);
  }

  /** Loads the history that the range lacks. */
  load() {
    const { view, history } = this;
    if (view.live) return;
    const { from, to } = view.range;
    const { now, begin } = view.limits;
    const all = view.following && view.span === Infinity && begin === 0;
    const recent = history.length > 0 ? history.time(0) : Infinity;
    this.past.need({ from: all ? 0 : from, to }, now, recent, view.following ? 0 : (to - from) / 2);
  }

  /** @param {Range} time @param {number} now */
  #chooseLine(time, now) {
    const { history, points } = this;
    const withPoints = points.length > 0 ? Math.min(time.to, points.time(points.length - 1)) - Math.max(time.from, points.time(0)) : Infinity;
    this.lineOnly = !this.view.live && withPoints < MIN_POINTS_SHARE * (time.to - time.from);
    const isFull = this.view.live || !this.lineOnly || (time.to - time.from <= MAX_FULL_SPAN && history.length > 0 && time.from >= history.time(0));
    this.line = isFull ? history : this.past.line(time, now, history);
  }

  /**
   * The place of a point, in CSS pixels from the host's corner; null if it is not visible.
   * @param {number} t @param {number} price
   */
  locate(t, price) {
    const { box } = this.chart;
    const { from, to } = this.view.range;
    const { low, high } = this.#price;
    if (t < from || t > to || price < low || price > high) return null;
    const x = box.left + ((t - from) / (to - from)) * box.width;
    const scaled = this.log ? Math.log : Number;
    const y = box.top + ((scaled(high) - scaled(price)) / (scaled(high) - scaled(low))) * box.height;
    return { x: x / this.ratio, y: y / this.ratio };
  }

  /**
   * The mark near a place, in CSS pixels from the host's corner; -1 if there is none. The line's marks are near in time.
   * @param {number} x @param {number} y
   */
  nearest(x, y) {
    if (this.lineOnly) {
      const i = this.line.nearest(this.timeAt(x));
      const at = i < 0 ? null : this.locate(this.line.time(i), this.line.price(i));
      return at && Math.abs(at.x - x) <= REACH ? i : -1;
    }
    return this.pointLayer.nearest(x * this.ratio, y * this.ratio, Math.round(REACH * this.ratio));
  }

  /** The time at a place. @param {number} x CSS pixels from the host's left */
  timeAt(x) {
    return this.view.range.from + (x - this.chart.box.left / this.ratio) * this.secondsPerPixel;
  }

  get secondsPerPixel() {
    const { from, to } = this.view.range;
    return ((to - from) * this.ratio) / this.chart.box.width;
  }

  /** A description for screen readers. @param {Snapshot | null} s */
  describe(s) {
    if (!s || !(s.price > 0)) return say("noPayments");
    if (this.lineOnly) return this.#describeLine();
    const inside = s.transactions.filter((p) => p.price >= s.low && p.price <= s.high).length;
    return say("pointsDescription", {
      count: integer(s.transactions.length), inside: integer(inside), low: dollars(s.low), high: dollars(s.high), price: dollars(s.price),
    });
  }

  #describeLine() {
    const { from, to } = this.view.range;
    const { low, high } = this.#pricesIn({ from, to });
    const [first, end] = [this.line.firstAt(from), this.line.firstAt(to)];
    if (first >= end) return say("noPrices", { dates: dates(from, to) });
    return say("lineDescription", {
      dates: dates(from, to), first: dollars(this.line.price(first)), last: dollars(this.line.price(end - 1)), low: dollars(low), high: dollars(high),
    });
  }

  /** @param {number} now */
  #setLimits(now) {
    const { begin } = this.past;
    const oldest = [this.points.time(0), this.history.time(0), begin].filter((t) => t > 0);
    this.view.limits = { now, oldest: Math.min(now, this.past.oldest, ...oldest), begin };
  }

  /** The span of the points: they are more informative than the line alone. */
  #followedSpan() {
    const oldest = this.points.length > 0 ? this.points.time(0) : 0;
    this.#timeSpan = steadySpan(TIME_SPANS, oldest > 0 ? this.view.limits.now - oldest : 0, this.#timeSpan);
    return this.#timeSpan;
  }

  /** @param {Range} time @param {Snapshot} snapshot */
  #fitPrice(time, snapshot) {
    const line = this.#pricesIn(time, UNSURE);
    const middle = this.#middleOf(time, line, snapshot);
    const shown = { ...middle, line, points: this.#sampleOf(time, middle.price) };
    this.#priceSpan = priceSpan(shown, this.#priceSpan);
    return priceAxis(shown, this.#priceSpan);
  }

  /**
   * The price at the middle of the axis: the newest with its interval, or that of a range in the past.
   * @param {Range} time @param {{low: number, high: number}} line its sure prices @param {Snapshot} snapshot
   */
  #middleOf({ to }, line, { price, low, high }) {
    if (this.view.following) return { price, low, high };
    const last = this.line.nearest(to);
    const guess = last < 0 ? price : this.line.price(last);
    const middle = line.high > 0 ? (line.low + line.high) / 2 : guess;
    return { price: middle, low: middle, high: middle };
  }

  /**
   * The lowest and highest price of the line in a range; Infinity and 0 if it has none.
   * @param {Range} time @param {number} [unsure] the factor between the ends of an interval from which its price is left out
   */
  #pricesIn({ from, to }, unsure = Infinity) {
    let [low, high] = [Infinity, 0];
    for (let i = this.line.firstAt(from); i < this.line.length && this.line.time(i) <= to; i++) {
      if (this.line.high(i) > unsure * this.line.low(i)) continue;
      low = Math.min(low, this.line.price(i));
      high = Math.max(high, this.line.price(i));
    }
    return { low, high };
  }

  /** Fits the line and most of its band. @param {Range} time @param {Snapshot} snapshot */
  #fitLine({ from, to }, snapshot) {
    const { line } = this;
    const prices = this.#pricesIn({ from, to });
    if (prices.high === 0 || this.view.following) {
      prices.low = Math.min(prices.low, snapshot.price);
      prices.high = Math.max(prices.high, snapshot.price);
    }
    let { low, high } = prices;
    for (let i = line.firstAt(from); i < line.length && line.time(i) <= to; i++) {
      low = Math.min(low, Math.max(line.low(i), prices.low / OUTLIER));
      high = Math.max(high, Math.min(line.high(i), prices.high * OUTLIER));
    }
    if (this.log) return { low: low / (high / low) ** 0.05, high: high * (high / low) ** 0.05 };
    const margin = Math.max(0.06 * (high - low), 0.001 * high);
    return { low: Math.max(0, low - margin), high: high + margin };
  }

  /**
   * Some points of a range, as multiples of the price when they were seen, or of another one where that is unsure.
   * @param {Range} time @param {number} price
   */
  #sampleOf({ from, to }, price) {
    const { history, points } = this;
    const [first, end] = [points.firstAt(from), points.firstAt(to)];
    const step = Math.max(1, (end - first) / SAMPLE);
    let count = 0;
    for (let at = first; at < end && count < SAMPLE; at += step) {
      const i = Math.floor(at);
      const k = history.nearest(points.time(i));
      const isSure = k >= 0 && history.high(k) <= UNSURE * history.low(k);
      this.#sample[count++] = points.price(i) / (isSure ? history.price(k) : price);
    }
    return this.#sample.subarray(0, count);
  }

  /** Where the newest interval goes beyond the price axis: words for its ends, empty if they are on it. @param {Snapshot} s */
  #cut({ low, high }) {
    const shown = this.view.following && !this.lineOnly;
    const { low: bottom, high: top } = this.#price;
    return { low: shown && low < bottom ? say("intervalTo", { price: dollars(low) }) : "", high: shown && high > top ? say("intervalTo", { price: dollars(high) }) : "" };
  }

  #pointSize() {
    const [isWide, isCrowded] = [this.host.clientWidth > 600, this.points.length >= 5000];
    const css = isWide ? (isCrowded ? 2 : 3) : isCrowded ? 1.5 : 2;
    return Math.max(1, Math.round(css * this.ratio));
  }

  /** @param {number} start */
  #measure(start) {
    if (++this.#measures % MAX_MEASURES === 0) performance.clearMeasures("frame");
    performance.measure("frame", { start });
  }
}
