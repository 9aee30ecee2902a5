// @ts-check
// The curve at the chart's right edge: how many payments of the last hour imply which price, over the
// background that all prices have.

import { colors } from "./palette.js";

/**
 * Counts of payments by the price that they imply: bin k covers from * 10^(step * k) up to from * 10^(step * (k + 1)).
 * @typedef {{from: number, step: number, counts: number[]}} Density from in USD
 *
 * @typedef {import("./chart.js").Box} Box
 */

const WIDTH = 0.14; // of the chart's width
const MAX_WIDTH = 140; // CSS pixels
const SMOOTHING = 0.0011; // standard deviation, as a share of the price: 0.25 % between the points of half the height
const NOISE = 0.08; // of the peak: what is lower than that above the background is drawn at less than half its height

const VEIL = 0.65; // how much the curve covers points, so that it can be seen on many of them

export class DensityCurve {
  #prices = new Float64Array(0); // the middles of the bins
  #heights = new Float64Array(0); // from 0 to 1

  /** @param {Density | null} density */
  set(density) {
    const { from, step, counts } = density ?? { from: 1, step: 1, counts: [] };
    this.#prices = Float64Array.from(counts, (_, k) => from * 10 ** (step * (k + 0.5)));
    this.#heights = heightsOf(counts, SMOOTHING / (Math.LN10 * step));
  }

  /**
   * Draws the curve, as wide as the highest of it is high.
   * @param {CanvasRenderingContext2D} c @param {Box} box @param {{low: number, high: number}} price the axis
   * @param {number} ratio device pixels for a CSS pixel
   */
  draw(c, box, price, ratio) {
    if (this.#heights.length < 2) return;
    const width = Math.min(WIDTH * box.width, MAX_WIDTH * ratio);
    c.save();
    c.beginPath();
    c.rect(box.left, box.top, box.width, box.height);
    c.clip();
    this.#trace(c, box, price, width);
    this.#fill(c);
    c.strokeStyle = colors.accent;
    c.lineWidth = ratio;
    c.stroke();
    c.restore();
  }

  /** @param {CanvasRenderingContext2D} c */
  #fill(c) {
    c.globalAlpha = VEIL;
    c.fillStyle = colors.paper;
    c.fill();
    c.globalAlpha = 1;
    c.fillStyle = colors["band-strong"];
    c.fill();
  }

  /**
   * The curve as a path from low prices to high ones. Its points are the middles between bins, which bend it smoothly.
   * @param {CanvasRenderingContext2D} c @param {Box} box @param {{low: number, high: number}} price @param {number} width
   */
  #trace(c, box, { low, high }, width) {
    const right = box.left + box.width;
    const x = (/** @type {number} */ k) => right - width * this.#heights[k];
    const y = (/** @type {number} */ k) => box.top + ((high - this.#prices[k]) / (high - low)) * box.height;
    const last = this.#prices.length - 1;
    c.beginPath();
    c.moveTo(right, y(0));
    for (let k = 0; k < last; k++) c.quadraticCurveTo(x(k), y(k), (x(k) + x(k + 1)) / 2, (y(k) + y(k + 1)) / 2);
    c.lineTo(right, y(last));
  }
}

/**
 * Smoothed counts above their background, from 0 to 1 at the peak; none if there is no payment. The background is the
 * median: most bins have nothing but chance in them.
 * @param {number[]} counts @param {number} deviation of the smoothing, in bins
 */
function heightsOf(counts, deviation) {
  const smooth = smoothed(counts, deviation);
  const background = Float64Array.from(smooth).sort()[smooth.length >> 1] ?? 0;
  const peak = smooth.reduce((most, v) => Math.max(most, v), 0) - background;
  if (!(peak > 0)) return new Float64Array(0);
  return smooth.map((v) => {
    const height = Math.max(0, v - background) / peak;
    return (height * height * (1 + NOISE)) / (height + NOISE);
  });
}

/** Weighted means of neighbours. @param {number[]} counts @param {number} deviation of the Gaussian weights, in bins */
function smoothed(counts, deviation) {
  const reach = Math.ceil(3 * deviation);
  return Float64Array.from(counts, (_, k) => {
    let [sum, weights] = [0, 0];
    for (let i = Math.max(0, k - reach); i <= Math.min(counts.length - 1, k + reach); i++) {
      const weight = Math.exp(-0.5 * ((i - k) / deviation) ** 2);
      sum += weight * counts[i];
      weights += weight;
    }
    return sum / weights;
  });
}
