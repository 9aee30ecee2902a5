// @ts-check
// The selected point, or entry of the line: chosen by pointer or keyboard, shown in a tooltip and announced to screen
// readers.

import { cents, change, dateUTC, dollars, minute, moment, rounded } from "./format.js";
import { say } from "./language.js";
import { byId } from "./panel.js";
import { DAY, spacingOf } from "./past.js";

/** @typedef {import("./client.js").Point & {low?: number, high?: number}} Mark a point, or an entry of the line with its interval */

export class Reading {
  /** @type {Mark | null} stored by value: its index changes with every update */ #point = null;
  #index = -1; // when it was selected; several points may have the same time and price
  #amount = 0; // the round amount, 0 if unknown
  #words = ["", "", "", ""];
  #announced = false;

  /**
   * @param {import("./plot.js").Plot} plot
   * @param {() => number} estimate the current one, 0 if there is none
   * @param {() => void} find called when the point's amount is unknown, but an edge may have it
   */
  constructor(plot, estimate, find) {
    this.plot = plot;
    this.estimate = estimate;
    this.find = find;
  }

  get current() {
    return this.#point;
  }

  /** The current index of the selected point; -1 if none is selected. */
  get index() {
    const points = this.plot.marks;
    const p = this.#point;
    if (!p) return -1;
    if (this.#isAt(this.#index)) return this.#index;
    let i = points.firstAt(p.timestamp);
    while (i + 1 < points.length && points.price(i) !== p.price && points.time(i + 1) === p.timestamp) i++;
    return Math.min(i, points.length - 1);
  }

  /** Whether its amount is unknown, but an edge may have it. */
  get lacksAmount() {
    const i = this.index;
    return !this.plot.lineOnly && this.#amount === 0 && this.#isAt(i) && this.plot.points.lacksAmount(i);
  }

  /** @param {number} i the index of the mark; -1 for none */
  select(i) {
    const { marks, line, lineOnly, points } = this.plot;
    this.#index = i;
    this.#point = i < 0 ? null : { timestamp: marks.time(i), price: marks.price(i) };
    if (this.#point && lineOnly) Object.assign(this.#point, { low: line.low(i), high: line.high(i) });
    this.#amount = i < 0 || lineOnly ? 0 : points.amount(i);
    this.#announced = false;
    this.refresh();
    if (this.lacksAmount) this.find();
  }

  /** Shows the amount if it is known by now. */
  amountsChanged() {
    if (!this.#point || this.#amount > 0) return;
    const i = this.index;
    if (this.#isAt(i)) this.#amount = this.plot.points.amount(i);
    if (this.#amount === 0) return;
    this.refresh();
    if (this.#announced) this.announce();
  }

  /** Announces the point to screen readers. */
  announce() {
    this.#announced = true;
    byId("reading").textContent = this.#point ? this.#words.filter(Boolean).join(", ") : "";
  }

  /** Writes the texts again, as after a change of the time zone. */
  refresh() {
    if (this.#point) this.#words = this.#describe(this.#point);
    this.place();
  }

  /** @param {number} i */
  #isAt(i) {
    const points = this.plot.marks;
    return i >= 0 && points.time(i) === this.#point?.timestamp && points.price(i) === this.#point.price;
  }

  /** Moves the tooltip to the mark's current place. */
  place() {
    if (this.#point && (this.#point.low !== undefined) !== this.plot.lineOnly) this.#point = null; // it is not drawn any more
    const at = this.#point && this.plot.locate(this.#point.timestamp, this.#point.price);
    byId("tooltip").hidden = byId("mark").hidden = !at;
    if (!at) return;
    this.#write();
    move(byId("mark"), at.x, at.y);
    const { offsetWidth: width, offsetHeight: height } = byId("tooltip");
    const room = this.plot.host.clientWidth;
    const left = Math.min(Math.max(0, at.x - width / 2), room - width);
    move(byId("tooltip"), left, at.y > height + 16 ? at.y - height - 12 : at.y + 16);
  }

  #write() {
    [...byId("tooltip").children].forEach((line, k) => {
      if (line.textContent !== this.#words[k]) line.textContent = this.#words[k];
    });
  }

  /** @param {Mark} p */
  #describe(p) {
    if (p.low !== undefined) return this.#describeEntry(p);
    const estimateThen = this.plot.history.priceAt(p.timestamp);
    const estimate = estimateThen || this.estimate();
    const off = estimate > 0 ? say(estimateThen ? "offThen" : "off", { change: change(p.price / estimate - 1) }) : "";
    return [cents(p.price), this.#amount > 0 ? say("aRound", { amount: rounded(this.#amount) }) : "", moment(p.timestamp), off];
  }

  /** @param {Mark} entry */
  #describeEntry({ timestamp: t, price, low = price, high = price }) {
    const { past, view } = this.plot;
    const ofDay = t % DAY === 0 && spacingOf(view.limits.now - t, past.step) >= DAY;
    return [dollars(price), `${dollars(low)} – ${dollars(high)}`, ofDay ? dateUTC(t) : minute(t), ""];
  }
}

/** @param {HTMLElement} node @param {number} x @param {number} y */
function move(node, x, y) {
  node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
