// @ts-check
// Draws the points on the canvas and finds the one at a place. All lengths are device pixels, so that squares are sharp.

import { colors } from "./palette.js";
import { MAX_POINTS } from "./points.js";

/** @typedef {import("./chart.js").Box} Box */

const SHADES = 6; // by age; few, so that the canvas needs few colours
const MIN_ALPHA = 0.25; // of the oldest points
const NONE = -1;

export class PointLayer {
  #count = 0; // of drawn points
  #x = new Int16Array(MAX_POINTS);
  #y = new Int16Array(MAX_POINTS);
  #point = new Int32Array(MAX_POINTS); // index in points
  #shade = new Uint8Array(MAX_POINTS);
  #sorted = new Int32Array(MAX_POINTS); // by shade
  #ends = new Int32Array(2 * SHADES + 1);
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
   * @param {number} size of a square
   */
  draw(c, box, time, price, size) {
    this.#place(box, time, price, size);
    this.#sort();
    this.#grid.clear();
    const half = size >> 1;
    for (let shade = 0; shade < 2 * SHADES; shade++) {
      c.fillStyle = shade < SHADES ? colors.soft : colors.accent;
      c.globalAlpha = MIN_ALPHA + ((1 - MIN_ALPHA) * (shade % SHADES)) / (SHADES - 1);
      for (let k = this.#ends[shade]; k < this.#ends[shade + 1]; k++) {
        const at = this.#sorted[k];
        c.fillRect(this.#x[at] - half, this.#y[at] - half, size, size);
      }
    }
    c.globalAlpha = 1;
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
   * @param {Box} box @param {{from: number, to: number}} time @param {{low: number, high: number}} price
   * @param {number} size
   */
  #place(box, time, price, size) {
    const { points, history } = this;
    const perSecond = box.width / (time.to - time.from);
    const perDollar = box.height / (price.high - price.low);
    const [first, end] = [points.firstAt(time.from), points.firstAt(time.to + 1e-3)];
    const [top, bottom] = [box.top + size, box.top + box.height - size];
    let known = Math.max(0, history.firstAt(time.from) - 1);
    this.#count = 0;
    for (let i = first; i < end; i++) {
      const [t, p] = [points.time(i), points.price(i)];
      const y = box.top + (price.high - p) * perDollar;
      if (y < top || y > bottom) continue;
      while (known + 1 < history.length && history.time(known + 1) <= t) known++;
      const inside = known < history.length && p >= history.low(known) && p <= history.high(known);
      const youth = Math.floor((SHADES * (t - time.from)) / (time.to - time.from));
      const at = this.#count++;
      this.#x[at] = Math.round(box.left + (t - time.from) * perSecond);
      this.#y[at] = Math.round(y);
      this.#point[at] = i;
      this.#shade[at] = Math.min(SHADES - 1, youth) + (inside ? SHADES : 0);
    }
  }

  /** A counting sort: one pass finds where each shade begins, the next puts the points there. */
  #sort() {
    const ends = this.#ends.fill(0);
    for (let at = 0; at < this.#count; at++) ends[this.#shade[at] + 1]++;
    for (let shade = 1; shade < ends.length; shade++) ends[shade] += ends[shade - 1];
    for (let at = this.#count - 1; at >= 0; at--) this.#sorted[--ends[this.#shade[at] + 1]] = at;
    // Now ends[shade + 1] is where shade begins: shift all by one.
    ends.copyWithin(0, 1);
    ends[ends.length - 1] = this.#count;
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
