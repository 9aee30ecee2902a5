// @ts-check
// The card: the price, its history of a day, the state.

import { NONE, dollars, duration } from "./format.js";
import { linePath, withMark } from "./sparkline.js";
import { applyTheme, byId, follow, getJSON, write } from "./widget.js";

/** @typedef {import("./sparkline.js").Mark} Mark */

const DAY = 86_400;
const COARSE = 300; // seconds between points: 288 of them, about one for each pixel
const FINE = 10; // as fine as the history is
const MIN_MARKS = 30; // with fewer, as from a new ingester, the fine history is loaded

/** @type {Mark[]} oldest first */ let marks = [];
let step = COARSE;

/** Loads the history, in finer steps if it is short. */
async function load() {
  let found = await fetchMarks(COARSE);
  if (found.length < MIN_MARKS) [found, step] = [await fetchMarks(FINE), FINE];
  const from = found.at(-1)?.[0] ?? 0;
  marks = found.concat(marks.filter(([t]) => t > from)); // added by the stream meanwhile
  draw();
}

/** @param {number} seconds @returns {Promise<Mark[]>} */
async function fetchMarks(seconds) {
  const response = await getJSON(`api/v1/history?step=${seconds}`);
  const points = /** @type {number[][]} */ (response?.points ?? []);
  return points.filter(([, price]) => price > 0).map(([t, price]) => [t, price]);
}

function draw() {
  if (document.hidden || marks.length < 2) return;
  const [first, last] = [marks[0], marks[marks.length - 1]];
  byId("line").setAttribute("d", linePath(marks, 300, 60));
  const ago = duration(last[0] - first[0]);
  write("span", `the last ${ago}`);
  byId("history").setAttribute("aria-label", `The price over the last ${ago}: from ${dollars(first[1])} to ${dollars(last[1])}`);
}

applyTheme();
follow((snapshot) => {
  const { price, timestamp } = snapshot;
  write("price", price > 0 ? dollars(price) : NONE);
  if (!(price > 0)) return;
  marks = withMark(marks, [timestamp, price], step, DAY);
  draw();
});
document.addEventListener("visibilitychange", draw);
load();
