// @ts-check
// Draws the points on the canvas and finds the one at a place. All lengths are device pixels, so that points are sharp.

import { PointImage } from "./pointimage.js";
import { MAX_POINTS } from "./points.js";

/** @typedef {import("./chart.js").Box} Box */

const NONE = -1;

export class PointLayer {
  #count = 0; // of drawn points
  #x = new Int16Array(MAX_POINTS);
  #y = new Int16Array(MAX_POINTS);
  #point = new Int32Array(MAX_POINTS); // index in points
  #image = new PointImage();
  #grid = new Grid();

  /** @param {import("./points.js").Points} points @param {import("./history.js").PriceHistory} history */
  constructor(points, history) {
    this.points = points;
    this.history = history;
  }

  /**
   * @param {CanvasRenderingContext2D} c
   * @param {Box} box
   * @param {{from: number, to: number}} time
   * @param {{low: number, high: number}} price
   * @param {number} size of a point
   */
  draw(c, box, time, price, size) {
    const [left, top] = [Math.round(box.left), Math.round(box.top)];
    this.#image.begin(Math.round(box.width), Math.round(box.height), size);
    this.#place(left, top, box, time, price);
    this.#image.draw(c, left, top);
    this.#grid.clear();
  }

  /**
   * The drawn point nearest to a place, within reach; -1 if there is none.
   * @param {number} x @param {number} y @param {number} reach
   */
  nearest(x, y, reach) {
    const at = this.#grid.nearest(this.#x, this.#y, this.#count, x, y, reach);
    return at === NONE ? NONE : this.#point[at];
  }

  /**
   * @param {number} left @param {number} top of the image
   * @param {Box} box @param {{from: number, to: number}} time @param {{low: number, high: number}} price
   */
  #place(left, top, box, time, price) {
    const { points, history } = this;
    const perSecond = box.width / (time.to - time.from);
    const perDollar = box.height / (price.high - price.low);
    const [first, end] = [points.firstAt(time.from), points.firstAt(time.to + 1e-3)];
    let known = Math.max(0, history.firstAt(time.from) - 1);
    this.#count = 0;
    for (let i = first; i < end; i++) {
      const [t, p] = [points.time(i), points.price(i)];
      if (p < price.low || p > price.high) continue;
      while (known + 1 < history.length && history.time(known + 1) <= t) known++;
      const inside = known < history.length && p >= history.low(known) && p <= history.high(known);
      const x = Math.round((t - time.from) * perSecond);
      const y = Math.round((price.high - p) * perDollar);
      this.#image.add(x, y, (t - time.from) / (time.to - time.from), inside);
      const at = this.#count++;
      this.#x[at] = left + x;
      this.#y[at] = top + y;
      this.#point[at] = i;
    }
  }
}

/** A spatial index of the drawn points by square cells, built when it is first used. */
class Grid {
  #cell = 0; // side length
  #columns = 0;
  #rows = 0;
  #heads = new Int32Array(0);
  #next = new Int32Array(MAX_POINTS);

  clear() {
    this.#cell = 0;
  }

  /**
   * @param {Int16Array} xs @param {Int16Array} ys @param {number} count @param {number} x @param {number} y
   * @param {number} reach
   */
  nearest(xs, ys, count, x, y, reach) {
    if (this.#cell !== reach) this.#build(xs, ys, count, reach);
    const [column, row] = [Math.floor(x / reach), Math.floor(y / reach)];
    let best = NONE;
    let least = reach * reach;
    for (let r = Math.max(0, row - 1); r <= Math.min(this.#rows - 1, row + 1); r++) {
      for (let c = Math.max(0, column - 1); c <= Math.min(this.#columns - 1, column + 1); c++) {
        for (let at = this.#heads[r * this.#columns + c]; at !== NONE; at = this.#next[at]) {
          const distance = (xs[at] - x) ** 2 + (ys[at] - y) ** 2;
          if (distance <= least) [best, least] = [at, distance];
        }
      }
    }
    return best;
  }

  /** @param {Int16Array} xs @param {Int16Array} ys @param {number} count @param {number} cell */
  #build(xs, ys, count, cell) {
    let [right, bottom] = [0, 0];
    for (let at = 0; at < count; at++) {
      right = Math.max(right, xs[at]);
      bottom = Math.max(bottom, ys[at]);
    }
    this.#cell = cell;
    this.#columns = Math.floor(right / cell) + 1;
    this.#rows = Math.floor(bottom / cell) + 1;
    const size = this.#columns * this.#rows;
    if (this.#heads.length < size) this.#heads = new Int32Array(size);
    this.#heads.fill(NONE);
    for (let at = 0; at < count; at++) {
      this.#link(at, Math.floor(ys[at] / cell) * this.#columns + Math.floor(xs[at] / cell));
    }
  }

  /** @param {number} at @param {number} place */
  #link(at, place) {
    this.#next[at] = this.#heads[place];
    this.#heads[place] = at;
  }
}
