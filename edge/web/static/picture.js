// @ts-check
// The chart as an image with a heading: title, price, time and state.

import { cents, confidenceWord, dollars, instant, probability } from "./format.js";
import { say } from "./language.js";
import { colors } from "./palette.js";
import { isSure } from "./state.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */

const HEADING_HEIGHT = 104; // CSS pixels
const MARGIN = 20;

/** @param {import("./plot.js").Plot} plot @param {Snapshot} s with a price @param {string} state in words */
export function savePicture(plot, s, state) {
  paint(plot, s, state).toBlob((blob) => blob && download(blob, `sightglass-${stamp(s.timestamp)}.png`), "image/png");
}

/** @param {import("./plot.js").Plot} plot @param {Snapshot} s @param {string} state */
function paint(plot, s, state) {
  const { ratio } = plot;
  const chart = plot.chart.canvas;
  const canvas = document.createElement("canvas");
  canvas.width = chart.width + 2 * MARGIN * ratio;
  canvas.height = chart.height + (HEADING_HEIGHT + 2 * MARGIN) * ratio;
  const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  c.fillStyle = colors.paper;
  c.fillRect(0, 0, canvas.width, canvas.height);
  c.drawImage(chart, MARGIN * ratio, (MARGIN + HEADING_HEIGHT) * ratio);
  c.scale(ratio, ratio);
  c.textBaseline = "top";
  const narrow = canvas.width / ratio - 2 * MARGIN;
  for (const [text, font, color, y] of heading(s, state)) {
    c.font = `${font} ${colors.font}`;
    c.fillStyle = color;
    c.fillText(text, MARGIN, MARGIN + y, narrow);
  }
  return canvas;
}

/** @param {Snapshot} s @param {string} state @returns {[string, string, string, number][]} */
function heading(s, state) {
  const belief = say("imageBelief", {
    low: dollars(s.low), high: dollars(s.high), share: probability(s.confidence), word: confidenceWord(s.confidence),
  });
  return [
    [say("imageTitle"), "600 14px", colors.soft, 0],
    isSure(s) ? [cents(s.price), "650 36px", colors.ink, 20] : [`≈ ${dollars(s.price)}`, "20px", colors.soft, 32],
    [[instant(s.timestamp), state].join(", "), "14px", colors.ink, 62],
    [belief, "14px", colors.soft, 82],
  ];
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers start the download late
}

/** The time for a file name. @param {number} t unix */
const stamp = (t) => new Date(t * 1000).toISOString().slice(0, 19).replaceAll(":", "-") + "Z";
