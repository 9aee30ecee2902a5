// @ts-check
// The newest points as a table. It costs nothing while it is hidden.

import { NONE, cents, change, rounded, time } from "./format.js";

const ROWS = 50;
const INTERVAL = 3000; // ms: rows that change faster cannot be read

export class Table {
  #shownAt = 0;
  /** @type {HTMLTableRowElement[]} */ #rows = [];

  /**
   * @param {HTMLTableElement} table
   * @param {import("./points.js").Points} points
   * @param {() => Promise<void>} find fetches unknown amounts
   */
  constructor(table, points, find) {
    this.table = table;
    this.points = points;
    this.find = find;
  }

  get shown() {
    return !this.table.hidden;
  }

  /** @param {number} price the estimate */
  toggle(price) {
    this.table.hidden = this.shown;
    this.refresh(price);
  }

  /** Redraws at once, as after a change of the time zone. @param {number} price */
  refresh(price) {
    this.#shownAt = 0;
    this.#show(price);
  }

  /** @param {number} price @param {number} now */
  async update(price, now) {
    if (!this.shown || now - this.#shownAt < INTERVAL) return;
    this.#shownAt = now;
    await this.find();
    this.#show(price);
  }

  /** @param {number} price */
  #show(price) {
    if (!this.shown) return;
    const { length } = this.points;
    this.#fit(Math.min(ROWS, length));
    this.#rows.forEach((row, k) => this.#fill(row, length - 1 - k, price));
  }

  /** @param {number} count */
  #fit(count) {
    while (this.#rows.length > count) this.#rows.pop()?.remove();
    while (this.#rows.length < count) {
      const row = this.table.tBodies[0].insertRow();
      for (let k = 0; k < 4; k++) row.insertCell();
      this.#rows.push(row);
    }
  }

  /** @param {HTMLTableRowElement} row @param {number} i @param {number} price */
  #fill(row, i, price) {
    const implied = this.points.price(i);
    const amount = this.points.amount(i);
    const texts = [
      time(this.points.time(i)), amount > 0 ? rounded(amount) : NONE, cents(implied), price > 0 ? change(implied / price - 1) : NONE,
    ];
    texts.forEach((text, k) => {
      if (row.cells[k].textContent !== text) row.cells[k].textContent = text;
    });
  }
}
