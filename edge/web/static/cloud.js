// @ts-check
// The points on the canvas, and which of them is where. All lengths are device pixels, so that squares are sharp.

import { colors } from "./palette.js";
import { MOST } from "./points.js";

/** @typedef {import("./chart.js").Box} Box */

const FADES = 6; // steps of the fading with age: few, so that each is one colour for the canvas
const FAINTEST = 0.25; // how much of its colour the oldest point keeps
const NOWHERE = -1;

export class Cloud {
  #count = 0; // of the points that are drawn
  #x = new Int16Array(MOST);
  #y = new Int16Array(MOST);
  #point = new Int32Array(MOST); // which one of points it is
  #shade = new Uint8Array(MOST);
  #sorted = new Int32Array(MOST); // by shade
  #ends = new Int32Array(2 * FADES + 1);
  #grid = new Grid();

  /** @param {import("./points.js").Points} points @param {import("./course.js").Course} course */
  constructor(points, course) {
    this.points = points;
    this.course = course;
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
    for (let shade = 0; shade < 2 * FADES; shade++) {
      c.fillStyle = shade < FADES ? colors.soft : colors.accent;
      c.globalAlpha = FAINTEST + ((1 - FAINTEST) * (shade % FADES)) / (FADES - 1);
      for (let k = this.#ends[shade]; k < this.#ends[shade + 1]; k++) {
        const at = this.#sorted[k];
        c.fillRect(this.#x[at] - half, this.#y[at] - half, size, size);
      }
    }
    c.globalAlpha = 1;
  }

  /**
   * The point that is drawn nearest to a place, within reach; -1 if there is none.
   * @param {number} x @param {number} y @param {number} reach
   */
  nearest(x, y, reach) {
    const at = this.#grid.nearest(this.#x, this.#y, this.#count, x, y, reach);
    return at === NOWHERE ? NOWHERE : this.#point[at];
  }

  /**
   * @param {Box} box @param {{from: number, to: number}} time @param {{low: number, high: number}} price
   * @param {number} size
   */
  #place(box, time, price, size) {
    const { points, course } = this;
    const perSecond = box.width / (time.to - time.from);
    const perDollar = box.height / (price.high - price.low);
    const [first, end] = [points.firstAt(time.from), points.firstAt(time.to + 1e-3)];
    const [top, bottom] = [box.top + size, box.top + box.height - size];
    let known = Math.max(0, course.firstAt(time.from) - 1);
    this.#count = 0;
    for (let i = first; i < end; i++) {
      const [t, p] = [points.time(i), points.price(i)];
      const y = box.top + (price.high - p) * perDollar;
      if (y < top || y > bottom) continue;
      while (known + 1 < course.length && course.time(known + 1) <= t) known++;
      const inside = known < course.length && p >= course.low(known) && p <= course.high(known);
      const youth = Math.floor((FADES * (t - time.from)) / (time.to - time.from));
      const at = this.#count++;
      this.#x[at] = Math.round(box.left + (t - time.from) * perSecond);
      this.#y[at] = Math.round(y);
      this.#point[at] = i;
      this.#shade[at] = Math.min(FADES - 1, youth) + (inside ? FADES : 0);
    }
  }

  /** By counting: one pass finds where each shade begins, the next puts the points there. */
  #sort() {
    const ends = this.#ends.fill(0);
    for (let at = 0; at < this.#count; at++) ends[this.#shade[at] + 1]++;
    for (let shade = 1; shade < ends.length; shade++) ends[shade] += ends[shade - 1];
    for (let at = this.#count - 1; at >= 0; at--) this.#sorted[--ends[this.#shade[at] + 1]] = at;
    // Now ends[shade + 1] is where shade begins: move all by one place.
    ends.copyWithin(0, 1);
    ends[ends.length - 1] = this.#count;
  }
}

/** Finds places near one another without looking at all: by the squares that they are in. Built when first asked. */
class Grid {
  #cell = 0; // a side
  #columns = 0;
  #rows = 0;
  #heads = new Int32Array(0);
  #next = new Int32Array(MOST);

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
    let best = NOWHERE;
    let least = reach * reach;
    for (let r = Math.max(0, row - 1); r <= Math.min(this.#rows - 1, row + 1); r++) {
      for (let c = Math.max(0, column - 1); c <= Math.min(this.#columns - 1, column + 1); c++) {
        for (let at = this.#heads[r * this.#columns + c]; at !== NOWHERE; at = this.#next[at]) {
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
    this.#heads.fill(NOWHERE);
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
