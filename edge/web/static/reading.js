// @ts-check
// The point that is read: found by pointer or keyboard, told in a tooltip and, to who listens, in words.

import { cents, change, moment } from "./format.js";
import { byId } from "./panel.js";

/** @typedef {import("./client.js").Point} Point */

export class Reading {
  /** @type {Point | null} kept as what it is: its place changes with every update */ #point = null;
  #index = -1; // where it was when it was found; several may have the same time and price
  #words = ["", "", ""];

  /** @param {import("./plot.js").Plot} plot @param {() => number} estimate of now, 0 if there is none */
  constructor(plot, estimate) {
    this.plot = plot;
    this.estimate = estimate;
  }

  get current() {
    return this.#point;
  }

  /** Which of the points is read, now that others have come and gone; -1 if there is none. */
  get index() {
    const { points } = this.plot;
    const p = this.#point;
    if (!p) return -1;
    if (points.time(this.#index) === p.timestamp && points.price(this.#index) === p.price) return this.#index;
    let i = points.firstAt(p.timestamp);
    while (i + 1 < points.length && points.price(i) !== p.price && points.time(i + 1) === p.timestamp) i++;
    return Math.min(i, points.length - 1);
  }

  /** @param {number} i which of the points; -1 for none */
  read(i) {
    const { points } = this.plot;
    this.#index = i;
    this.#point = i < 0 ? null : { timestamp: points.time(i), price: points.price(i) };
    if (this.#point) this.#words = this.#describe(this.#point);
    this.place();
  }

  /** For who listens. */
  say() {
    byId("reading").textContent = this.#point ? this.#words.join(", ") : "";
  }

  /** The words may have changed: another zone. */
  again() {
    if (this.#point) this.#words = this.#describe(this.#point);
    this.place();
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
    return [cents(p.price), moment(p.timestamp), off];
  }
}

/** @param {HTMLElement} node @param {number} x @param {number} y */
function move(node, x, y) {
  node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
