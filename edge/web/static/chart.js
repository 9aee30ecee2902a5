// @ts-check
// The part of uPlot that this page uses: two axes, the estimate's line and its band. No other module uses uPlot.

import uPlot from "./vendor/uplot-1.6.32.esm.js";
import { clock, day, dollars, hour, zoneOffset } from "./format.js";
import { colors } from "./palette.js";
import { roundTicks, timeTicks } from "./scale.js";

/**
 * @typedef {object} Frame the content of a chart
 * @property {Float64Array[]} columns time, price, low, high of the history
 * @property {{from: number, to: number}} time
 * @property {{low: number, high: number}} price
 * @property {number} tag the price marked on the axis, 0 for none
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box device pixels
 */

const FONT = 13; // CSS pixels
const MAX_STEP = 150; // seconds; a longer time without an estimate is a gap. Over two steps of the coarsest history
const DAY = 24 * 3600;

/** @type {uPlot.Scale} */
const fixedRange = { auto: false, range: (_, low, high) => [low, high] };

const ruler = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/** @param {string} text in CSS pixels */
function widthOf(text) {
  ruler.font = `${FONT}px ${colors.font}`;
  return ruler.measureText(text).width;
}

export class Chart {
  #tag = 0;

  /**
   * @param {HTMLElement} host
   * @param {(c: CanvasRenderingContext2D, box: Box) => void} drawPoints called between the band and the line
   */
  constructor(host, drawPoints) {
    const draw = (/** @type {uPlot} */ u, /** @type {number} */ k) => k === 2 && drawPoints(u.ctx, u.bbox);
    this.plot = new uPlot({
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [8, 0, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: { x: { ...fixedRange, time: false }, y: fixedRange },
      axes: [timeAxis(), priceAxis(() => this.#tag)],
      series: [{}, edge(), edge(), { ...edge(), stroke: () => colors.accent, width: 2 }],
      bands: [{ series: [2, 1], fill: () => colors.band }],
      hooks: { drawSeries: [draw], draw: [(u) => drawTag(u, this.#tag)] },
    }, [[], [], [], []], host);
  }

  get canvas() {
    return this.plot.ctx.canvas;
  }

  /** @type {Box} where the axes leave room */
  get box() {
    return this.plot.bbox;
  }

  /** Draws at once. @param {Frame} frame */
  draw({ columns: [times, prices, lows, highs], time, price, tag }) {
    this.#tag = tag;
    this.plot.batch(() => {
      this.plot.setData([times, lows, highs, prices], false);
      this.plot.setScale("x", { min: time.from, max: time.to });
      this.plot.setScale("y", { min: price.low, max: price.high });
      this.plot.redraw(false, true); // labels, too: the zone may be another
    });
  }

  /** @param {number} width @param {number} height CSS pixels */
  resize(width, height) {
    this.plot.setSize({ width, height });
  }
}

/** A series of the history; the band's edges have no line. @returns {uPlot.Series} */
function edge() {
  return { scale: "y", width: 0, points: { show: false }, gaps };
}

/**
 * The gaps in the history, in device pixels.
 * @type {(u: uPlot, k: number, i: number, j: number) => [number, number][]}
 */
function gaps(u, _, i, j) {
  const times = u.data[0];
  /** @type {[number, number][]} */
  const found = [];
  for (let k = i + 1; k <= j; k++) {
    if (times[k] - times[k - 1] <= MAX_STEP) continue;
    found.push([u.valToPos(times[k - 1], "x", true), u.valToPos(times[k], "x", true)]);
  }
  return found;
}

/** The common settings of both axes; uPlot does not compute steps. @type {uPlot.Axis} */
const axis = {
  stroke: () => colors.soft,
  font: `${FONT}px system-ui, sans-serif`,
  grid: { stroke: () => colors.grid, width: 1 },
  ticks: { show: false },
  space: 0,
  incrs: (_u, _k, min, max) => [max - min],
};

/** @returns {uPlot.Axis} */
function timeAxis() {
  /** @type {(t: number) => string} */
  let label = hour;
  return {
    ...axis,
    size: 2.2 * FONT,
    gap: 8,
    splits: (u, _, from, to) => {
      const width = u.bbox.width / uPlot.pxRatio;
      label = labelFor(from, to, width);
      return fitTimes(from, to, width, label).ticks;
    },
    values: (u, ticks) => ticks.map((t) => {
      const text = (t - zoneOffset(t)) % DAY === 0 ? day(t) : label(t); // midnight is shown by its date
      return u.valToPos(t, "x") < widthOf(text) / 2 ? "" : text; // it would be cut off
    }),
  };
}

/**
 * Short labels take less space: seconds only if needed, AM and PM only over half a day.
 * @param {number} from @param {number} to @param {number} width
 */
function labelFor(from, to, width) {
  if (to - from > DAY / 2) return hour;
  const minutes = (/** @type {number} */ t) => clock(t, false);
  return fitTimes(from, to, width, minutes).step < 60 ? (/** @type {number} */ t) => clock(t, true) : minutes;
}

/**
 * As many ticks as fit.
 * @param {number} from @param {number} to @param {number} width @param {(t: number) => string} label
 */
function fitTimes(from, to, width, label) {
  return timeTicks(from, to, width / (widthOf(label(to)) + 2 * FONT), zoneOffset(to));
}

/** @param {() => number} tag @returns {uPlot.Axis} */
function priceAxis(tag) {
  return {
    ...axis,
    scale: "y",
    side: 1,
    gap: 9,
    size: (_, labels) => 8 * Math.ceil((18 + Math.max(24, ...(labels ?? []).map(widthOf))) / 8), // in steps: the width stays
    splits: (u, _, low, high) => roundTicks(low, high, u.bbox.height / uPlot.pxRatio / (4 * FONT)),
    values: (u, ticks) => ticks.map((price) => (isTaken(u, price, tag()) || !(price > 0) ? "" : dollars(price))),
  };
}

/** Whether the tag's label covers the place. @param {uPlot} u @param {number} price @param {number} tag */
function isTaken(u, price, tag) {
  const y = u.valToPos(price, "y");
  return y < FONT / 2 || (tag > 0 && Math.abs(y - u.valToPos(tag, "y")) < 1.7 * FONT);
}

/** The current estimate: a horizontal line and its price on the axis. @param {uPlot} u @param {number} tag */
function drawTag(u, tag) {
  if (!(tag > 0)) return;
  const { ctx: c, bbox: box } = u;
  const font = Math.round(FONT * uPlot.pxRatio);
  const y = Math.round(u.valToPos(tag, "y", true));
  const right = Math.round(box.left + box.width);
  c.save();
  c.fillStyle = colors.accent;
  c.globalAlpha = 0.5; // less prominent than the history
  c.fillRect(box.left, y, box.width, Math.max(1, Math.round(uPlot.pxRatio)));
  c.globalAlpha = 1;
  c.fillRect(right, y - Math.round(0.8 * font), c.canvas.width - right, Math.round(1.6 * font));
  c.fillStyle = colors.paper;
  c.font = `600 ${font}px ${colors.font}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(dollars(tag), right + 9 * uPlot.pxRatio, y + 1);
  c.restore();
}
