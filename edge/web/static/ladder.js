// @ts-check
// The payments by amount, seen at a price: how many are round amounts of dollars. Pure.

/** @typedef {{from: number, step: number}} Bins bin k is from 10^(step k) to 10^(step (k+1)) times from */
/** @typedef {{from: number, to: number, count: number, expected: number, isRound: boolean}} Bar from, to: USD */

const SATOSHI = 1e8; // of a bitcoin
const REACH = 0.75; // bins on either side of a round amount that count as it: payments are a little off, and so is the price

/** The place of a value among bins, in bins: 1.5 is the middle of the second. @param {Bins} bins @param {number} value */
export const binOf = ({ from, step }, value) => Math.log10(value / from) / step;

export class Ladder {
  /**
   * @param {Bins & {counts: number[], expected: number[]}} amounts in satoshi; expected: without round amounts
   * @param {number[]} rungs the round amounts, USD, rising
   */
  constructor(amounts, rungs) {
    this.amounts = amounts;
    this.all = amounts.counts.reduce((sum, n) => sum + n, 0);
    this.counts = cumulative(amounts.counts);
    this.expected = cumulative(amounts.expected);
    this.rungs = rungs;
  }

  /** The place of a round amount among the bins. @param {number} usd @param {number} price */
  #place(usd, price) {
    return binOf(this.amounts, (usd / price) * SATOSHI);
  }

  /**
   * How many payments are round amounts at a price, and how many would be by chance.
   * @param {number} price
   */
  at(price) {
    let [round, expected] = [0, 0];
    for (const usd of this.rungs) {
      const place = this.#place(usd, price);
      if (place < REACH || place > this.amounts.counts.length - REACH) continue;
      round += between(this.counts, place - REACH, place + REACH);
      expected += between(this.expected, place - REACH, place + REACH);
    }
    return { round, expected };
  }

  /** How many times as many payments are round amounts as by chance. @param {number} price */
  ratio(price) {
    const { round, expected } = this.at(price);
    return round / Math.max(expected, 1e-9);
  }

  /**
   * The bins within a range of dollars.
   * @param {number} price @param {{from: number, to: number}} range USD @returns {Bar[]}
   */
  bars(price, range) {
    const { from, step, counts, expected } = this.amounts;
    const dollarsAt = (/** @type {number} */ k) => (from * 10 ** (step * k) * price) / SATOSHI;
    const places = this.rungs.map((usd) => this.#place(usd, price));
    return counts.flatMap((count, k) => {
      const [low, high] = [dollarsAt(k), dollarsAt(k + 1)];
      if (low < range.from || high > range.to) return [];
      return { from: low, to: high, count, expected: expected[k], isRound: places.some((p) => Math.abs(p - k - 0.5) <= REACH) };
    });
  }
}

/** The sums of the first n values, for each n. @param {number[]} values */
function cumulative(values) {
  const sums = new Float64Array(values.length + 1);
  values.forEach((v, k) => (sums[k + 1] = sums[k] + v));
  return sums;
}

/** The sum between two places, which may be within bins. @param {Float64Array} sums @param {number} low @param {number} high */
const between = (sums, low, high) => upTo(sums, high) - upTo(sums, low);

/** @param {Float64Array} sums @param {number} place */
function upTo(sums, place) {
  const k = Math.min(sums.length - 2, Math.max(0, Math.floor(place)));
  return sums[k] + (sums[k + 1] - sums[k]) * Math.min(1, Math.max(0, place - k));
}
