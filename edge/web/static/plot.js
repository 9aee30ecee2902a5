// @ts-check
// The chart of the view's time range: points, price history, and the price axis that fits them.

import { Chart } from "./chart.js";
import { dollars } from "./format.js";
import { PointLayer } from "./pointlayer.js";
import { PRICE_SPANS, TIME_SPANS, quantile, steadySpan } from "./scale.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./view.js").Range} Range */

const FRAMED = 0.9; // the share of points that the price axis includes; the rest are outliers
const SAMPLE = 512; // points that are examined for that
const REACH = 24; // CSS pixels between a pointer and the point that it selects
const MAX_MEASURES = 1000; // of "frame", before they are cleared: the browser never does

export class Plot {
  #timeSpan = 0;
  #priceSpan = 0;
  #price = { low: 0, high: 1 };
  #sample = new Float64Array(SAMPLE);
  #measures = 0;

  /**
   * @param {HTMLElement} host
   * @param {import("./points.js").Points} points
   * @param {import("./history.js").PriceHistory} history
   * @param {import("./view.js").View} view
   */
  constructor(host, points, history, view) {
    this.host = host;
    this.points = points;
    this.history = history;
    this.view = view;
    this.pointLayer = new PointLayer(points, history);
    this.chart = new Chart(host, (c, box) => this.pointLayer.draw(c, box, view.range, this.#price, this.#squareSize()));
  }

  /** Device pixels for a CSS pixel. */
  get ratio() {
    return this.chart.canvas.width / Math.max(1, this.host.clientWidth);
  }

  /** Call it at most once in an animation frame. @param {Snapshot} snapshot */
  draw(snapshot) {
    const start = performance.now();
    this.#setLimits(snapshot.timestamp);
    const time = this.view.update(this.#followedSpan());
    this.#price = this.#fitPrice(time, snapshot);
    const tag = this.view.following ? snapshot.price : 0;
    this.chart.draw({ columns: this.history.columns, time, price: this.#price, tag });
    this.#measure(start);
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
    const y = box.top + ((high - price) / (high - low)) * box.height;
    return { x: x / this.ratio, y: y / this.ratio };
  }

  /**
   * The point near a place, in CSS pixels from the host's corner; -1 if there is none.
   * @param {number} x @param {number} y
   */
  nearest(x, y) {
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
    if (!s || !(s.price > 0)) return "No payments yet";
    const inside = s.transactions.filter((p) => p.price >= s.low && p.price <= s.high).length;
    return `${s.transactions.length} payments over time, by the price that each implies. ${inside} of them are in the ` +
      `90% interval, ${dollars(s.low)} to ${dollars(s.high)}, around the estimate of ${dollars(s.price)}.`;
  }

  /** @param {number} now */
  #setLimits(now) {
    const oldest = [this.points.time(0), this.history.time(0)].filter((t) => t > 0);
    this.view.limits = { now, oldest: Math.min(now, ...oldest) };
  }

  /** The span of the points: they are more informative than the line alone. */
  #followedSpan() {
    const oldest = this.points.length > 0 ? this.points.time(0) : 0;
    this.#timeSpan = steadySpan(TIME_SPANS, oldest > 0 ? this.view.limits.now - oldest : 0, this.#timeSpan);
    return this.#timeSpan;
  }

  /** @param {Range} time @param {Snapshot} snapshot */
  #fitPrice(time, snapshot) {
    const seen = this.#estimatesIn(time);
    const known = seen.high > 0 && !this.view.following;
    const middle = known ? (seen.low + seen.high) / 2 : snapshot.price;
    const band = Math.max(snapshot.high / middle - 1, 1 - snapshot.low / middle);
    const moved = seen.high > 0 ? Math.max(seen.high / middle - 1, 1 - seen.low / middle) : 0;
    const needed = Math.max(this.#framed(time, middle), known ? 0 : 1.5 * band, 1.15 * moved);
    this.#priceSpan = steadySpan(PRICE_SPANS, needed, this.#priceSpan);
    return { low: middle * (1 - this.#priceSpan), high: middle * (1 + this.#priceSpan) };
  }

  /** The lowest and highest estimate in a range. @param {Range} time */
  #estimatesIn({ from, to }) {
    let [low, high] = [Infinity, 0];
    for (let i = this.history.firstAt(from); i < this.history.length && this.history.time(i) <= to; i++) {
      low = Math.min(low, this.history.price(i));
      high = Math.max(high, this.history.price(i));
    }
    return { low, high };
  }

  /** The distance from middle, as a share, within which most points of a range are. @param {Range} time @param {number} middle */
  #framed({ from, to }, middle) {
    const [first, end] = [this.points.firstAt(from), this.points.firstAt(to)];
    const step = Math.max(1, (end - first) / SAMPLE);
    let count = 0;
    for (let i = first; i < end && count < SAMPLE; i += step) {
      this.#sample[count++] = Math.abs(this.points.price(Math.floor(i)) / middle - 1);
    }
    return quantile(this.#sample.subarray(0, count), FRAMED);
  }

  #squareSize() {
    const css = this.host.clientWidth > 600 && this.points.length < 5000 ? 3 : 2;
    return Math.max(1, Math.round(css * this.ratio));
  }

  /** @param {number} start */
  #measure(start) {
    if (++this.#measures % MAX_MEASURES === 0) performance.clearMeasures("frame");
    performance.measure("frame", { start });
  }
}
