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
 * @property {Cut} cut
 *
 * @typedef {{low: string, high: string}} Cut what is written at the ends of the price axis, where the band goes on; empty for nothing
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box device pixels
 */

const FONT = 13; // CSS pixels
const DAY = 24 * 3600;
const MAX_DAYS = 200 * DAY; // a longer time has labels of months and years

/** @type {uPlot.Scale} */
const fixedRange = { auto: false, range: (_, low, high) => [low, high] };

const BAND = 2; // the series after which the band is drawn
const LINE = 3; // the first of the two of the line

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
  /** @type {Cut} */ #cut = { low: "", high: "" };
  #log = false;
  #plain = false;
  /** @type {Frame["gap"]} */ #gap = () => Infinity;
  #straight = /** @type {uPlot.Series.LinearPathBuilderFactory} */ (Plot.paths.linear)();
  /** @type {uPlot.Series.Paths | null} */ #line = null;

  /**
   * @param {HTMLElement} host
   * @param {(c: CanvasRenderingContext2D, box: Box) => void} drawPoints called between the band and the line
   */
  constructor(host, drawPoints) {
    const draw = (/** @type {uPlot} */ u, /** @type {number} */ k) => k === BAND && drawPoints(u.ctx, u.bbox);
    /** @type {uPlot.Scale} */
    const price = {
      ...fixedRange,
      distr: CUSTOM,
      fwd: (v) => (this.#log ? Math.log(Math.max(v, LEAST)) : v),
      bwd: (v) => (this.#log ? Math.exp(v) : v),
    };
    const series = { scale: "y", width: 0, points: { show: false }, gaps: this.#gaps };
    // The line twice: the first, in the paper's colour, sets the second off from dense points.
    this.plot = new Plot({
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [8, 0, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: { x: { ...fixedRange, time: false }, y: price },
      axes: [timeAxis(), priceAxis(() => this.#tag, () => this.#log)],
      series: [
        {}, series, series, // the band's edges have no line
        { ...series, paths: this.#path, stroke: () => (this.#plain ? "transparent" : colors.paper), width: 4, alpha: 0.7 },
        { ...series, paths: this.#path, stroke: () => colors.accent, width: 2 },
      ],
      bands: [{ series: [2, 1], fill: () => (this.#plain ? colors["band-strong"] : colors.band) }],
      hooks: { drawSeries: [draw], draw: [(u) => this.#mark(u)] },
    }, [[], [], [], [], []], host);
  }

  get canvas() {
    return this.plot.ctx.canvas;
  }

  /** @type {Box} where the axes leave room */
  get box() {
    return this.plot.bbox;
  }

  /** Draws at once. @param {Frame} frame */
  draw({ columns: [times, prices, lows, highs], time, price, log, gap, tag, cut, plain }) {
    [this.#tag, this.#cut, this.#log, this.#gap, this.#plain] = [tag, cut, log, gap, plain];
    this.plot.batch(() => {
      this.plot.setData([times, lows, highs, prices, prices], false);
      this.plot.setScale("x", { min: time.from, max: time.to });
      this.plot.setScale("y", { min: price.low, max: price.high });
      this.plot.redraw(false, true); // labels, too: the zone may be another
    });
  }

  /** @param {number} width @param {number} height CSS pixels */
  resize(width, height) {
    this.plot.setSize({ width, height });
  }

  /** The path of both lines: the second uses that of the first. @type {uPlot.Series.PathBuilder} */
  #path = (u, k, i, j) => {
    if (k === LINE) this.#line = this.#straight(u, k, i, j);
    return this.#line;
  };

  /** Draws what is over the lines. @param {uPlot} u */
  #mark(u) {
    drawTag(u, this.#tag);
    if (this.#cut.high) drawCut(u, this.#cut.high, 1, this.#tag);
    if (this.#cut.low) drawCut(u, this.#cut.low, -1, this.#tag);
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

/**
 * Says that the band goes on beyond an end of the price axis: an arrow and words, in the corner at the axis.
 * @param {uPlot} u @param {string} words @param {1 | -1} up 1 at the top, -1 at the bottom @param {number} tag
 */
function drawCut(u, words, up, tag) {
  const { ctx: c, bbox: box } = u;
  const px = Plot.pxRatio;
  const height = 1.6 * FONT * px; // of the text's place
  const end = up > 0 ? box.top : box.top + box.height;
  const isTagged = tag > 0 && Math.abs(u.valToPos(tag, "y", true) - end) < 2 * height;
  const y = end + up * height * (isTagged ? 2.6 : 0.6); // beyond the line of the tag
  const right = box.left + box.width - 8 * px;
  c.save();
  c.font = `${Math.round(FONT * px)}px ${colors.font}`;
  c.textAlign = "right";
  c.textBaseline = "middle";
  c.lineJoin = "round";
  c.lineWidth = 4 * px;
  c.strokeStyle = colors.paper; // so that it can be read on points
  c.strokeText(words, right - 14 * px, y);
  c.fillStyle = colors.accent;
  c.fillText(words, right - 14 * px, y);
  drawArrow(c, right - 4 * px, y, up * px);
  c.restore();
}

/** A triangle. @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {number} up its size, below 0 downward */
function drawArrow(c, x, y, up) {
  const half = Math.abs(4 * up);
  c.beginPath();
  c.moveTo(x - half, y + 3 * up);
  c.lineTo(x + half, y + 3 * up);
  c.lineTo(x, y - 4 * up);
  c.closePath();
  c.stroke();
  c.fill();
}
