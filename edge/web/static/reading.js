// @ts-check
// The point that is read: found by pointer or keyboard, told in a tooltip and, to who listens, in words.

import { cents, change, time } from "./format.js";
import { byId } from "./panel.js";

/** @typedef {import("./client.js").Point} Point */

export class Reading {
  /** @type {Point | null} kept as what it is: its place changes with every update */ #point = null;
  #words = ["", "", ""];

  /** @param {import("./plot.js").Plot} plot @param {() => number} estimate of now, 0 if there is none */
  constructor(plot, estimate) {
    this.plot = plot;
    this.estimate = estimate;
  }

  get current() {
    return this.#point;
  }

  /** @param {number} i which of the points; -1 for none */
  read(i) {
    const { points } = this.plot;
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
    return [cents(p.price), time(p.timestamp), off];
  }
}

/** @param {HTMLElement} node @param {number} x @param {number} y */
function move(node, x, y) {
  node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
