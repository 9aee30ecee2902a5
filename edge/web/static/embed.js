// @ts-check
// The card: the price, its history, the state. ?span= says how much of the history: 3h, 1d, 1w, 1m or 1y.

import { NONE, dollars, duration, unitsOf } from "./format.js";
import { say } from "./language.js";
import { finerStep, gapOf, linePath, spanOf, withMark } from "./sparkline.js";
import { isSure } from "./state.js";
import { applyTheme, byId, follow, getJSON, write } from "./widget.js";

/** @typedef {import("./sparkline.js").Mark} Mark */
/** @typedef {import("./client.js").Snapshot} Snapshot */

const MIN_MARKS = 30; // with fewer, as from a new ingester, the history is loaded in finer steps

const span = spanOf(new URLSearchParams(location.search).get("span"));
/** @type {Mark[]} oldest first */ let marks = [];
let step = span.step;

/** Loads the history, in finer steps if it is short. */
async function load() {
  let found = await fetchMarks();
  if (found.length < MIN_MARKS) {
    step = finerStep(found, span);
    found = await fetchMarks();
  }
  const from = found.at(-1)?.[0] ?? 0;
  marks = found.concat(marks.filter(([t]) => t > from)); // added by the stream meanwhile
  draw();
}

/** @returns {Promise<Mark[]>} */
async function fetchMarks() {
  const from = Math.floor(Date.now() / 1000) - span.seconds;
  const response = await getJSON(`api/v1/history?from=${from}&step=${step}`);
  const points = /** @type {number[][]} */ (response?.points ?? []);
  return points.filter(([, price]) => price > 0).map(([t, price]) => [t, price]);
}

function draw() {
  if (document.hidden || marks.length < 2) return;
  const [first, last] = [marks[0], marks[marks.length - 1]];
  byId("line").setAttribute("d", linePath(marks, 300, 60, gapOf(step)));
  const seconds = last[0] - first[0];
  const ago = seconds > span.seconds - 2 * span.step ? unitsOf(span.count, span.unit) : duration(seconds); // a young history is shorter
  write("span", say("lastSpan", { ago }));
  byId("history").setAttribute("aria-label", say("historyLabel", { ago, first: dollars(first[1]), last: dollars(last[1]) }));
}

/**
 * The price; only about, if it is not sure. The card is small and out of its context: the sign is beside the number whatever
 * else fits.
 * @param {Snapshot} snapshot
 */
function priceOf(snapshot) {
  if (!(snapshot.price > 0)) return NONE;
  return `${isSure(snapshot) ? "" : "≈\u00a0"}${dollars(snapshot.price)}`;
}

applyTheme();
follow((snapshot) => {
  const { price, timestamp } = snapshot;
  const text = priceOf(snapshot);
  byId("price").style.setProperty("--length", String(text.length)); // the style sets the font size by it
  write("price", text);
  if (!(price > 0)) return;
  marks = withMark(marks, [timestamp, price], step, span.seconds);
  draw();
});
document.addEventListener("visibilitychange", draw);
load();
