// @ts-check
// The part of uPlot that this page uses: two axes, the estimate's line and its band. No other module uses uPlot.

import { clock, day, dollars, hour, month, rounded, year, zoneOffset } from "./format.js";
import { colors } from "./palette.js";
import { MONTH, logTicks, roundTicks, timeTicks } from "./scale.js";

/** @import uPlot from "./vendor/uplot-1.6.32.js" */

/** @type {typeof uPlot} that a script before this one has defined: minified, it is half the size, and no module */
const Plot = /** @type {any} */ (globalThis).uPlot;

/**
 * @typedef {object} Frame the content of a chart
 * @property {Float64Array[]} columns time, price, low, high of the history
 * @property {{from: number, to: number}} time
 * @property {{low: number, high: number}} price
 * @property {boolean} plain whether there are no points, and the band can be strong
 * @property {boolean} log whether the price axis is logarithmic
 * @property {(t: number) => number} gap how long before t the entry before it must be for a gap in the line; seconds
 * @property {number} tag the price marked on the axis, 0 for none
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box device pixels
 */

const FONT = 13; // CSS pixels
const DAY = 24 * 3600;
const MAX_DAYS = 200 * DAY; // a longer time has labels of months and years

/** @type {uPlot.Scale} */
const fixedRange = { auto: false, range: (_, low, high) => [low, high] };

const CUSTOM = 100; // uPlot's distribution by functions of one's own, which may change, unlike its logarithmic one
const LEAST = 1e-6; // a price for the logarithm of what is none

const ruler = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/** @param {string} text in CSS pixels */
function widthOf(text) {
  ruler.font = `${FONT}px ${colors.font}`;
  return ruler.measureText(text).width;
}

export class Chart {
  #tag = 0;
  #log = false;
  #plain = false;
  /** @type {Frame["gap"]} */ #gap = () => Infinity;

  /**
   * @param {HTMLElement} host
   * @param {(c: CanvasRenderingContext2D, box: Box) => void} drawPoints called between the band and the line
   */
  constructor(host, drawPoints) {
    const draw = (/** @type {uPlot} */ u, /** @type {number} */ k) => k === 2 && drawPoints(u.ctx, u.bbox);
    /** @type {uPlot.Scale} */
    const price = {
      ...fixedRange,
      distr: CUSTOM,
      fwd: (v) => (this.#log ? Math.log(Math.max(v, LEAST)) : v),
      bwd: (v) => (this.#log ? Math.exp(v) : v),
    };
    const series = { scale: "y", width: 0, points: { show: false }, gaps: this.#gaps };
    this.plot = new Plot({
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [8, 0, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: { x: { ...fixedRange, time: false }, y: price },
      axes: [timeAxis(), priceAxis(() => this.#tag, () => this.#log)],
      series: [{}, series, series, { ...series, stroke: () => colors.accent, width: 2 }], // the band's edges have no line
      bands: [{ series: [2, 1], fill: () => (this.#plain ? colors["band-strong"] : colors.band) }],
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
  draw({ columns: [times, prices, lows, highs], time, price, log, gap, tag, plain }) {
    [this.#tag, this.#log, this.#gap, this.#plain] = [tag, log, gap, plain];
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

  /**
   * The gaps in the history, in device pixels.
   * @type {(u: uPlot, k: number, i: number, j: number) => [number, number][]}
   */
  #gaps = (u, _, i, j) => {
    const times = u.data[0];
    /** @type {[number, number][]} */
    const found = [];
    for (let k = i + 1; k <= j; k++) {
      if (times[k] - times[k - 1] <= this.#gap(times[k])) continue;
      found.push([u.valToPos(times[k - 1], "x", true), u.valToPos(times[k], "x", true)]);
    }
    return found;
  };
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
      const width = u.bbox.width / Plot.pxRatio;
      label = labelFor(from, to, width);
      return fitTimes(from, to, width, label).ticks;
    },
    values: (u, ticks) => ticks.map((t) => {
      const text = label(t);
      return u.valToPos(t, "x") < widthOf(text) / 2 ? "" : text; // it would be cut off
    }),
  };
}

/**
 * Short labels take less space: seconds only if needed, AM and PM only over half a day. Midnight is shown by its date,
 * January by its year.
 * @param {number} from @param {number} to @param {number} width
 */
function labelFor(from, to, width) {
  const span = to - from;
  if (span > MAX_DAYS) return monthOrYear;
  if (span > DAY / 2) return hourOrDay;
  const minutes = (/** @type {number} */ t) => (isMidnight(t) ? day(t) : clock(t, false));
  const seconds = (/** @type {number} */ t) => (isMidnight(t) ? day(t) : clock(t, true));
  return fitTimes(from, to, width, minutes).step < 60 ? seconds : minutes;
}

/** The time that the reader's clock shows at t, as if it were in UTC. @param {number} t */
const shown = (t) => t - zoneOffset(t);

/** @param {number} t */
const isMidnight = (t) => shown(t) % DAY === 0;

/** @param {number} t */
const hourOrDay = (t) => (isMidnight(t) ? day(t) : hour(t));

/** @param {number} t */
const monthOrYear = (t) => (new Date(shown(t) * 1000).getUTCMonth() === 0 ? year(t) : month(t));

/**
 * As many ticks as fit.
 * @param {number} from @param {number} to @param {number} width @param {(t: number) => string} label
 */
function fitTimes(from, to, width, label) {
  const inMonths = label === monthOrYear;
  const widest = inMonths ? year(to) : to - from > 3 * DAY ? day(to) : label(to);
  return timeTicks(from, to, width / (widthOf(widest) + (inMonths ? 1.5 : 2) * FONT), zoneOffset, inMonths ? MONTH : 0);
}

/** @param {() => number} tag @param {() => boolean} log @returns {uPlot.Axis} */
function priceAxis(tag, log) {
  return {
    ...axis,
    scale: "y",
    side: 1,
    gap: 9,
    size: (_, labels) => 8 * Math.ceil((18 + Math.max(24, ...(labels ?? []).map(widthOf))) / 8), // in steps: the width stays
    splits: (u, _, low, high) => {
      const height = u.bbox.height / Plot.pxRatio;
      return log() ? logTicks(low, high, height / (2 * FONT)) : roundTicks(low, high, height / (4 * FONT));
    },
    values: (u, ticks) => ticks.map((price) => (isTaken(u, price, tag()) || !(price > 0) ? "" : (Number.isInteger(price) ? rounded : dollars)(price))),
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
  const font = Math.round(FONT * Plot.pxRatio);
  const y = Math.round(u.valToPos(tag, "y", true));
  const right = Math.round(box.left + box.width);
  c.save();
  c.fillStyle = colors.accent;
  c.globalAlpha = 0.5; // less prominent than the history
  c.fillRect(box.left, y, box.width, Math.max(1, Math.round(Plot.pxRatio)));
  c.globalAlpha = 1;
  c.fillRect(right, y - Math.round(0.8 * font), c.canvas.width - right, Math.round(1.6 * font));
  c.fillStyle = colors.paper;
  c.font = `600 ${font}px ${colors.font}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(dollars(tag), right + 9 * Plot.pxRatio, y + 1);
  c.restore();
}
