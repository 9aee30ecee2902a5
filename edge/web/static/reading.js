// @ts-check
// The point that is read: found by pointer or keyboard, told in a tooltip and, to who listens, in words.

import { cents, change, moment, rounded } from "./format.js";
import { byId } from "./panel.js";

/** @typedef {import("./client.js").Point} Point */

export class Reading {
  /** @type {Point | null} kept as what it is: its place changes with every update */ #point = null;
  #index = -1; // where it was when it was found; several may have the same time and price
  #amount = 0; // the round one, 0 if it is not known
  #words = ["", "", "", ""];
  #said = false;

  /**
   * @param {import("./plot.js").Plot} plot
   * @param {() => number} estimate of now, 0 if there is none
   * @param {() => void} find called when the point's amount is not known, but may be
   */
  constructor(plot, estimate, find) {
    this.plot = plot;
    this.estimate = estimate;
    this.find = find;
  }

  get current() {
    return this.#point;
  }

  /** Which of the points is read, now that others have come and gone; -1 if there is none. */
  get index() {
    const { points } = this.plot;
    const p = this.#point;
    if (!p) return -1;
    if (this.#isAt(this.#index)) return this.#index;
    let i = points.firstAt(p.timestamp);
    while (i + 1 < points.length && points.price(i) !== p.price && points.time(i + 1) === p.timestamp) i++;
    return Math.min(i, points.length - 1);
  }

  /** Whether its amount is not known, but may be. */
  get isOpen() {
    const i = this.index;
    return this.#amount === 0 && this.#isAt(i) && this.plot.points.isOpen(i);
  }

  /** @param {number} i which of the points; -1 for none */
  read(i) {
    const { points } = this.plot;
    this.#index = i;
    this.#point = i < 0 ? null : { timestamp: points.time(i), price: points.price(i) };
    this.#amount = i < 0 ? 0 : points.amount(i);
    this.#said = false;
    this.again();
    if (this.isOpen) this.find();
  }

  /** Amounts that were not known may be now. */
  learned() {
    if (!this.#point || this.#amount > 0) return;
    const i = this.index;
    if (this.#isAt(i)) this.#amount = this.plot.points.amount(i);
    if (this.#amount === 0) return;
    this.again();
    if (this.#said) this.say();
  }

  /** For who listens. */
  say() {
    this.#said = true;
    byId("reading").textContent = this.#point ? this.#words.filter(Boolean).join(", ") : "";
  }

  /** The words may have changed: another zone. */
  again() {
    if (this.#point) this.#words = this.#describe(this.#point);
    this.place();
  }

  /** @param {number} i */
  #isAt(i) {
    const { points } = this.plot;
    return i >= 0 && points.time(i) === this.#point?.timestamp && points.price(i) === this.#point.price;
  }

  /** Puts the tooltip where its point now is. */
  place() {
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

  /** @param {Point} p */
  #describe(p) {
    const then = this.plot.course.priceAt(p.timestamp);
    const estimate = then || this.estimate();
    const off = estimate > 0 ? `${change(p.price / estimate - 1)} off the estimate${then ? " of that time" : ""}` : "";
    return [cents(p.price), this.#amount > 0 ? `a round ${rounded(this.#amount)}` : "", moment(p.timestamp), off];
  }
}

/** @param {HTMLElement} node @param {number} x @param {number} y */
function move(node, x, y) {
  node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
