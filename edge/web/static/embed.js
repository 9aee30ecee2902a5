// @ts-check
// The card: the price, its course over a day, the state.

import { NONE, dollars, duration } from "./format.js";
import { applyTheme, byId, follow, getJSON, write } from "./small.js";
import { linePath, withPoint } from "./sparkline.js";

/** @typedef {import("./sparkline.js").Mark} Mark */

const DAY = 86_400;
const COARSE = 300; // seconds between points: 288 of them, about one for each pixel
const FINE = 10; // as fine as the history is
const FEW = 30; // points that make no line worth looking at, as of an ingester that is new

/** @type {Mark[]} oldest first */ let course = [];
let step = COARSE;

/** The course so far, finer if that is not long. */
async function load() {
  let found = await ask(COARSE);
  if (found.length < FEW) [found, step] = [await ask(FINE), FINE];
  const from = found.at(-1)?.[0] ?? 0;
  course = found.concat(course.filter(([t]) => t > from)); // what came by the stream meanwhile
  draw();
}

/** @param {number} seconds @returns {Promise<Mark[]>} */
async function ask(seconds) {
  const answer = await getJSON(`api/v1/history?step=${seconds}`);
  return (answer?.points ?? []).map((/** @type {number[]} */ [t, price]) => [t, price]);
}

function draw() {
  if (document.hidden || course.length < 2) return;
  const [first, last] = [course[0], course[course.length - 1]];
  byId("line").setAttribute("d", linePath(course, 300, 60));
  const ago = duration(last[0] - first[0]);
  write("span", `the last ${ago}`);
  byId("course").setAttribute("aria-label", `The price over the last ${ago}: from ${dollars(first[1])} to ${dollars(last[1])}`);
}

applyTheme();
follow((snapshot) => {
  const { price, timestamp } = snapshot;
  write("price", price > 0 ? dollars(price) : NONE);
  if (!(price > 0)) return;
  course = withPoint(course, [timestamp, price], step, DAY);
  draw();
});
document.addEventListener("visibilitychange", draw);
load();
