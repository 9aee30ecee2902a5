// @ts-check
// The payments around the estimate, on a canvas. All lengths in here are device pixels, so that squares are sharp.

import { clock, dollars } from "./format.js";
import { PRICE_SPANS, TIME_SPANS, quantile, roundTicks, steadySpan, timeTicks } from "./scale.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */

/**
 * @typedef {object} View where things are on the canvas
 * @property {CanvasRenderingContext2D} c
 * @property {number} width of the plot, without the price labels
 * @property {number} height of the plot, without the time labels
 * @property {number} font size
 * @property {number} hair the thinnest line
 * @property {{low: number, high: number}} price
 * @property {{low: number, high: number}} time
 * @property {(usd: number) => number} y
 * @property {(seconds: number) => number} x
 * @property {(name: string) => string} color
 */

const FRAMED = 0.9; // the share of points that the price axis is made to hold; the rest are far off
const FAINTEST = 0.2; // how much of its colour the oldest point keeps

export class Cloud {
  /** @type {Snapshot | null} */ #snapshot = null;
  #timeSpan = 0;
  #priceSpan = 0;
  #ratio = 1; // device pixels for a CSS pixel

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const observer = new ResizeObserver(([entry]) => this.#resize(entry));
    try {
      observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(canvas); // Safari
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Call it at most once in an animation frame. @param {Snapshot} snapshot */
  show(snapshot) {
    this.#snapshot = snapshot;
    this.#fitSpans(snapshot);
    this.#draw();
  }

  /** What a reader who does not see the canvas should know of it. */
  describe() {
    const s = this.#snapshot;
    if (!s || !(s.price > 0)) return "No payments yet";
    const inside = s.transactions.filter((p) => isInside(p.price, s)).length;
    return `${s.transactions.length} payments over time, by the price that each implies. ${inside} of them are in the ` +
      `90% interval, ${dollars(s.low)} to ${dollars(s.high)}, around the estimate of ${dollars(s.price)}.`;
  }

  /** @param {ResizeObserverEntry} entry */
  #resize(entry) {
    const css = entry.contentBoxSize[0];
    const device = entry.devicePixelContentBoxSize?.[0];
    this.canvas.width = devicePixels(css.inlineSize, device?.inlineSize);
    this.canvas.height = devicePixels(css.blockSize, device?.blockSize);
    this.#ratio = devicePixelRatio;
    this.#draw(); // at once, since the new size emptied the canvas; the browser calls this once a frame
  }

  /** @param {Snapshot} s */
  #fitSpans(s) {
    const oldest = s.transactions[0]?.timestamp ?? s.timestamp;
    this.#timeSpan = steadySpan(TIME_SPANS, s.timestamp - oldest, this.#timeSpan);
    const framed = quantile(s.transactions.map((p) => Math.abs(p.price / s.price - 1)), FRAMED);
    const band = 1.5 * Math.max(s.high / s.price - 1, 1 - s.low / s.price);
    this.#priceSpan = steadySpan(PRICE_SPANS, Math.max(framed, band), this.#priceSpan);
  }

  #draw() {
    const s = this.#snapshot;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!s || !(s.price > 0) || this.canvas.width === 0) return;
    const view = this.#view(s);
    drawPriceAxis(view, s);
    drawTimeAxis(view);
    drawBand(view, s);
    drawPoints(view, s, Math.round((this.canvas.width > 600 * this.#ratio ? 3 : 2) * this.#ratio));
    drawEstimate(view, s);
  }

  /** @param {Snapshot} s @returns {View} */
  #view(s) {
    const { canvas, context: c } = this;
    const style = getComputedStyle(canvas);
    const font = Math.round(parseFloat(style.fontSize) * this.#ratio);
    c.font = `${font}px ${style.fontFamily}`;
    c.textBaseline = "middle";
    const price = { low: s.price * (1 - this.#priceSpan), high: s.price * (1 + this.#priceSpan) };
    const time = { low: s.timestamp - this.#timeSpan, high: s.timestamp };
    const width = canvas.width - Math.ceil(c.measureText(dollars(price.high)).width + 1.4 * font);
    const height = canvas.height - 2 * font;
    return {
      c, width, height, font, price, time,
      hair: Math.max(1, Math.round(this.#ratio)),
      x: (t) => Math.round(((t - time.low) / (time.high - time.low)) * width),
      y: (p) => Math.round(((price.high - p) / (price.high - price.low)) * height),
      color: (name) => style.getPropertyValue(name),
    };
  }
}

/**
 * The browser's own rounding is exact, but a browser that only plays another device gives it for the real one.
 * @param {number} css @param {number | undefined} exact
 */
function devicePixels(css, exact) {
  const computed = Math.round(css * devicePixelRatio);
  return exact !== undefined && Math.abs(exact - computed) <= 1 ? exact : computed;
}

/** @param {number} price @param {Snapshot} s */
const isInside = (price, s) => price >= s.low && price <= s.high;

/** @param {View} v @param {Snapshot} s */
function drawPriceAxis(v, s) {
  v.c.textAlign = "left";
  for (const price of roundTicks(v.price.low, v.price.high, v.height / (4 * v.font))) {
    const y = v.y(price);
    v.c.fillStyle = v.color("--grid");
    v.c.fillRect(0, y, v.width, v.hair);
    const taken = Math.abs(y - v.y(s.price)) < 1.7 * v.font; // by the estimate's own label
    if (taken || y < v.font / 2) continue;
    v.c.fillStyle = v.color("--soft");
    v.c.fillText(dollars(price), v.width + 0.7 * v.font, y);
  }
}

/** @param {View} v */
function drawTimeAxis(v) {
  const { ticks, exactly, label } = fitTimes(v);
  v.c.textAlign = "center";
  for (const t of ticks) {
    const x = v.x(t);
    v.c.fillStyle = v.color("--grid");
    v.c.fillRect(x, 0, v.hair, v.height);
    if (x < label / 2) continue; // it would be cut off
    v.c.fillStyle = v.color("--soft");
    v.c.fillText(clock(t, exactly), x, v.height + 1.2 * v.font);
  }
}

/** As many as there is room for; with seconds only if they are needed, since those take room. @param {View} v */
function fitTimes(v) {
  const fit = (/** @type {boolean} */ exactly) => {
    const label = v.c.measureText(clock(0, exactly)).width;
    return { ...timeTicks(v.time.low, v.time.high, v.width / (label + 2 * v.font)), exactly, label };
  };
  const short = fit(false);
  return short.step < 60 ? fit(true) : short;
}

/** @param {View} v @param {Snapshot} s */
function drawBand(v, s) {
  const top = Math.max(0, v.y(s.high));
  const bottom = Math.min(v.height, v.y(s.low));
  v.c.fillStyle = v.color("--band");
  v.c.fillRect(0, top, v.width, Math.max(v.hair, bottom - top));
}

/** @param {View} v @param {Snapshot} s @param {number} size */
function drawPoints(v, s, size) {
  const [inside, outside] = [v.color("--accent"), v.color("--soft")];
  const half = size >> 1;
  for (const { timestamp, price } of s.transactions) {
    const x = v.x(timestamp) - half;
    const y = v.y(price) - half;
    if (x < 0 || y < 0 || y + size > v.height) continue;
    const youth = Math.min(1, x / v.width);
    v.c.globalAlpha = FAINTEST + (1 - FAINTEST) * youth;
    v.c.fillStyle = isInside(price, s) ? inside : outside;
    v.c.fillRect(x, y, size, size);
  }
  v.c.globalAlpha = 1;
}

/** @param {View} v @param {Snapshot} s */
function drawEstimate(v, s) {
  const y = v.y(s.price);
  v.c.fillStyle = v.color("--accent");
  v.c.fillRect(0, y, v.width, v.hair);
  v.c.fillRect(v.width, y - Math.round(0.8 * v.font), v.c.canvas.width - v.width, Math.round(1.6 * v.font));
  v.c.fillStyle = v.color("--paper");
  v.c.textAlign = "left";
  v.c.fillText(dollars(s.price), v.width + 0.7 * v.font, y);
}
