// @ts-check
// Why this price: the payments by their amount, which stand out on round amounts at the right price only. The edge has new
// evidence once a minute. This module is loaded after the first picture.

import { change, decimal, dollars, integer, probability, rounded } from "./format.js";
import { load } from "./history.js";
import { say } from "./language.js";
import { Ladder, binOf } from "./ladder.js";
import { colors } from "./palette.js";
import { byId, write } from "./panel.js";

/**
 * The response of /api/v1/evidence. Bin k is from 10^(step k) to 10^(step (k+1)) times from.
 * @typedef {object} Answer
 * @property {number} timestamp unix seconds
 * @property {number} price USD
 * @property {{from: number, step: number, counts: number[], expected: number[]}} amounts satoshi
 * @property {{from: number, step: number, counts: number[], probabilities: number[]}} prices USD
 * @property {[dollars: number, share: number][]} rungs
 */

const INTERVAL = 60_000; // ms: as often as the ingester has new evidence
const SOONEST = 10_000; // ms between two requests
const RETRY = 5000; // ms after a failure, and twice as long after each further one
const SPREAD = 0.2; // of each interval, at most, that is added by chance: the tabs of an edge must not ask at once
const MOVED = 0.01; // of the price, after which the evidence is loaded again
const OLD = 900; // seconds after which the evidence is not that of the price any more
const GROWN = 1.5; // and of the payments: in the first minutes
const STRONG = 0.25; // of the share of the most frequent round amount: the rarer ones do not stand out
const SHIFT = 0.001; // a step of the slider, as a share of the price
const NEAR = 0.005; // what counts as this price
const LEAST = 0.001; // a smaller probability is said to be under it
const LEAST_HIGH = 1.3; // times as many as by chance: what is less must not look like a peak
const MARKED = new Set([5, 10, 20, 50, 100, 200, 500, 1000]); // USD, the labels of the axis
const STEPS = 4; // bins that have the same expectation
const WIDE = 560; // CSS pixels: a narrower axis has fewer amounts
const FONT = 13; // CSS pixels
const THUMB = 16; // CSS pixels: the slider's thumb is so wide, its middle moves over the rest

export class Evidence {
  #loading = false;
  #hurried = false; // whether the next request is sooner than usual
  #requestedAt = -Infinity;
  #dueAt = 0; // the next request
  #failures = 0; // since the last answer
  /** @type {Answer | null} */ #answer = null;
  #payments = 0; // when it was loaded
  /** @type {Ladder | null} */ #ladder = null;
  #slider = /** @type {HTMLInputElement} */ (byId("shift"));

  /** @param {(density: {from: number, step: number, counts: number[]} | null) => void} onDensity called with each new one, and with null when it is old */
  constructor(onDensity) {
    this.onDensity = onDensity;
    this.#slider.addEventListener("input", () => this.draw());
    byId("shift-reset").addEventListener("click", () => {
      this.#slider.value = "0";
      this.#slider.focus();
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(byId("ladder"));
  }

  /** Loads the evidence if it is old, or soon if it is of another price. @param {import("./client.js").Snapshot} snapshot */
  async update({ price, stats, timestamp }) {
    if (document.hidden || !(price > 0) || this.#loading) return;
    if (this.#answer && Math.abs(timestamp - this.#answer.timestamp) > OLD) this.#clear();
    const now = performance.now();
    const payments = stats.active_in_window;
    const changed = this.#answer !== null && (Math.abs(price / this.#answer.price - 1) > MOVED || payments > GROWN * this.#payments);
    if (changed && !this.#hurried) {
      this.#hurried = true;
      this.#dueAt = Math.min(this.#dueAt, Math.max(now, this.#requestedAt + SOONEST) + SOONEST * Math.random());
    }
    if (now < this.#dueAt) return;
    [this.#loading, this.#hurried, this.#requestedAt] = [true, false, now];
    /** @type {Answer | null} */
    const answer = await load("api/v1/evidence");
    const isUsable = answer !== null && answer.price > 0 && Math.abs(timestamp - answer.timestamp) < OLD && answer.amounts.counts.some((n) => n > 0);
    this.#failures = isUsable ? 0 : this.#failures + 1;
    const wait = isUsable ? INTERVAL : Math.min(INTERVAL, RETRY * 2 ** (this.#failures - 1));
    this.#dueAt = now + wait * (1 + SPREAD * Math.random());
    this.#loading = false;
    if (isUsable) this.#show(answer, payments);
    else if (!this.#answer) this.#hint("evidenceFailed");
  }

  /** @param {Answer} answer @param {number} payments in the window when it was loaded */
  #show(answer, payments) {
    [this.#answer, this.#payments] = [answer, payments];
    const least = STRONG * Math.max(...answer.rungs.map(([, share]) => share));
    this.#ladder = new Ladder(answer.amounts, answer.rungs.filter(([, share]) => share >= least).map(([usd]) => usd));
    byId("evidence-hint").hidden = true;
    byId("evidence-body").hidden = false;
    this.onDensity(answer.prices);
    this.draw();
  }

  /** Shows none: the last one is of another time. */
  #clear() {
    this.#answer = this.#ladder = null;
    byId("evidence-hint").hidden = false;
    byId("evidence-body").hidden = true;
    this.#hint("evidenceFailed");
    this.onDensity(null);
  }

  /** @param {import("./language.js").Key} key */
  #hint(key) {
    byId("evidence-hint").dataset.text = key; // so that another language has it, too
    write("evidence-hint", say(key));
  }

  /** Draws and says it again, as after a change of the theme or the language. */
  draw() {
    const [answer, ladder] = [this.#answer, this.#ladder];
    if (!answer || !ladder || byId("ladder").clientWidth === 0) return;
    const shift = Number(this.#slider.value);
    const price = answer.price * (1 + SHIFT * shift);
    const range = byId("ladder").clientWidth > WIDE ? { from: 4, to: 1000 } : { from: 8, to: 250 };
    drawLadder(byId("ladder"), ladder, price, range);
    this.#drawFit(ladder, answer.price, shift);
    this.#write(answer, ladder, price, shift);
    /** @type {HTMLButtonElement} */ (byId("shift-reset")).disabled = shift === 0;
  }

  /** @param {Answer} answer @param {Ladder} ladder @param {number} price @param {number} shift */
  #write({ prices }, ladder, price, shift) {
    const { round, expected } = ladder.at(price);
    const ratio = decimal(ladder.ratio(price));
    const said = { price: dollars(price), change: change(SHIFT * shift), round: integer(Math.round(round)), all: integer(ladder.all), expected: integer(Math.round(expected)) };
    const [first, end] = [binOf(prices, price * (1 - NEAR)), binOf(prices, price * (1 + NEAR))];
    const share = prices.probabilities.slice(Math.max(0, Math.round(first)), Math.max(0, Math.round(end))).reduce((sum, p) => sum + p, 0);
    const chance = share < LEAST ? say("underShare", { share: probability(LEAST) }) : probability(share);
    const words = `${say(shift === 0 ? "evidenceAt" : "evidenceShifted", said)} ${say("evidenceChance", { share: chance })}`;
    write("evidence-words", words);
    this.#slider.setAttribute("aria-valuetext", [said.price, shift === 0 ? "" : said.change, say("evidenceRatio", { ratio })].filter(Boolean).join(", "));
    byId("ladder").setAttribute("aria-label", say("evidenceLabel", { price: dollars(price), ratio }));
  }

  /** How far the round amounts stand out at each price that the slider can have. @param {Ladder} ladder @param {number} price @param {number} shift */
  #drawFit(ladder, price, shift) {
    const { c, width, height } = prepare(byId("fit"));
    const most = Number(this.#slider.max);
    const heights = Array.from({ length: 2 * most + 1 }, (_, k) => ladder.ratio(price * (1 + SHIFT * (k - most))));
    const [low, high] = [1, Math.max(LEAST_HIGH, ...heights)]; // from as many as by chance
    const x = (/** @type {number} */ k) => THUMB / 2 + (k / (2 * most)) * (width - THUMB);
    const y = (/** @type {number} */ v) => height - 2 - Math.max(0, (v - low) / (high - low)) * (height - 6);
    c.beginPath();
    c.moveTo(x(0), height);
    heights.forEach((v, k) => c.lineTo(x(k), y(v)));
    c.lineTo(x(2 * most), height);
    c.fillStyle = colors["band-strong"];
    c.fill();
    c.fillStyle = colors.accent;
    c.fillRect(Math.round(x(shift + most)) - 1, 0, 2, height);
  }
}

/** @param {HTMLElement} host @param {Ladder} ladder @param {number} price @param {{from: number, to: number}} range USD */
function drawLadder(host, ladder, price, range) {
  const { c, width, height } = prepare(host);
  const base = height - 1.7 * FONT;
  const x = (/** @type {number} */ usd) => (Math.log(usd / range.from) / Math.log(range.to / range.from)) * width;
  const bins = ladder.bars(price, range);
  const top = Math.max(1, ...bins.map((b) => b.expected), quantileOf(bins.map((b) => b.count), 0.995));
  const y = (/** @type {number} */ n) => base - Math.min(1, n / (1.08 * top)) * (base - 4);

  c.font = `${FONT}px ${colors.font}`;
  c.textAlign = "center";
  c.textBaseline = "alphabetic";
  for (const usd of ladder.rungs.filter((r) => MARKED.has(r) && r >= range.from && r <= range.to)) {
    c.fillStyle = colors.grid;
    c.fillRect(Math.round(x(usd)), 0, 1, base);
    c.fillStyle = colors.soft;
    const text = rounded(usd);
    const half = c.measureText(text).width / 2;
    c.fillText(text, Math.min(Math.max(x(usd), half), width - half), height - 4);
  }
  for (const { from, to, count, isRound } of bins) {
    c.fillStyle = isRound ? colors.accent : colors.soft;
    c.globalAlpha = isRound ? 1 : 0.4;
    const left = x(from);
    c.fillRect(left, y(count), Math.max(x(to) - left - (width > 2 * WIDE ? 0.4 : 0), 0.5), base - y(count));
  }
  c.globalAlpha = 1;
  c.beginPath();
  bins.forEach(({ from, to, expected }, k) => k % STEPS === 0 && c.lineTo((x(from) + x(to)) / 2, y(expected)));
  c.strokeStyle = colors.ink;
  c.lineWidth = 1.25;
  c.stroke();
  c.fillStyle = colors.soft;
  c.fillRect(0, base, width, 1);
}

/** Clears a canvas and gives it a pixel for each of the screen. @param {HTMLElement} host */
function prepare(host) {
  const canvas = /** @type {HTMLCanvasElement} */ (host);
  const [ratio, width, height] = [devicePixelRatio || 1, canvas.clientWidth, canvas.clientHeight];
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  return { c, width, height };
}

/** @param {number[]} values @param {number} share */
function quantileOf(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
