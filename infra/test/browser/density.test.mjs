// Tests of how the chart draws: points that add up, the curve at its right edge, and what it says where the interval is cut.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LIVE, drawn, state } from "./harness.mjs";
import { live, openWith } from "./ownstream.mjs";

const { price } = live;

/** Records what is written on canvases. */
function recordTexts() {
  window.written = [];
  const fillText = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.written.push(text);
    return fillText.call(this, text, ...rest);
  };
}

/**
 * Opens the dashboard with a stream of one snapshot, without history and evidence but for what is given.
 * @param {import("node:test").TestContext} t @param {object} snapshot @param {{evidence?: object, context?: object}} [options]
 */
async function openStill(t, snapshot, { evidence, context } = {}) {
  const page = await openWith(t, "/", { next: () => snapshot }, { ...context, serviceWorkers: "block" }, recordTexts, async (page) => {
    await page.route("**/api/v1/history*", (route) => route.fulfill({ json: { step: 10, points: [] } }));
    await page.route("**/api/v1/evidence", (route) => (evidence ? route.fulfill({ json: evidence }) : route.fulfill({ status: 204 })));
  });
  await state(page, LIVE);
  await drawn(page);
  return page;
}

/**
 * How far the colour of the strongest pixel near a place of the chart is from the paper's, 0 to 255. The place is in shares
 * of the width and height within the axes, which the grid's lines end at.
 * @param {import("playwright-core").Page} page @param {number} x @param {number} y @param {number} reach CSS pixels
 */
const strength = (page, x, y, reach = 4) => page.evaluate(([atX, atY, near]) => {
  const canvas = document.querySelector("#chart canvas");
  const ratio = canvas.width / canvas.clientWidth;
  const c = canvas.getContext("2d");
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
  probe.fillRect(0, 0, 1, 1);
  const paper = probe.getImageData(0, 0, 1, 1).data;
  const { data } = c.getImageData(atX * canvas.width - near * ratio, atY * canvas.height - near * ratio, 2 * near * ratio, 2 * near * ratio);
  let most = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] === 0) continue;
    const alpha = data[i + 3] / 255;
    most = Math.max(most, ...[0, 1, 2].map((k) => alpha * Math.abs(data[i + k] - paper[k])));
  }
  return most;
}, [x, y, reach]);

/** The place of a mark on the chart, in shares: its tooltip's mark is there. @param {import("playwright-core").Page} page @param {string} key */
async function placeOf(page, key) {
  await page.focus("#chart");
  await page.keyboard.press(key);
  await page.waitForSelector("#mark:visible");
  const [mark, canvas] = [await page.locator("#mark").boundingBox(), await page.locator("#chart canvas").first().boundingBox()];
  await page.keyboard.press("Escape");
  return [(mark.x + mark.width / 2 - canvas.x) / canvas.width, (mark.y + mark.height / 2 - canvas.y) / canvas.height];
}

test("points at one place are stronger than a single one, which is clear, and fade with age", async (t) => {
  const now = Date.now() / 1000;
  const at = (/** @type {number} */ age, /** @type {number} */ off) => ({ timestamp: now - age, price: Math.round(100 * price * (1 + off)) / 100 });
  const crowd = Array.from({ length: 6 }, (_, i) => at(2.001 - i / 1000, 0.05)); // all on the same pixel
  const transactions = [at(58, -0.05), at(30, 0.02), ...crowd, at(1.9, -0.05)];
  const page = await openStill(t, { transactions, low: price * 0.995, high: price * 1.005 }, { context: { colorScheme: "light" } });
  const [first, last] = [await placeOf(page, "Home"), await placeOf(page, "End")];
  const [old, fresh] = [await strength(page, ...first), await strength(page, ...last)];
  const crowded = await strength(page, last[0], 2 * (await lineOf(page)) - last[1]); // as far above the price as the last is below
  t.diagnostic(`old ${old.toFixed(0)}, fresh ${fresh.toFixed(0)}, six ${crowded.toFixed(0)}`);
  assert.ok(old > 20, "an old point is not seen");
  assert.ok(fresh > 1.5 * old, "a fresh point is not stronger than an old one");
  assert.ok(crowded > 1.15 * fresh, "six points are not stronger than one");
});

/** Where the price's line is, as a share of the height. @param {import("playwright-core").Page} page */
const lineOf = (page) => page.evaluate(() => {
  const canvas = document.querySelector("#chart canvas");
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  probe.fillRect(0, 0, 1, 1);
  const [accent] = new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer);
  const { data } = canvas.getContext("2d").getImageData(canvas.width - 4, 0, 1, canvas.height); // the tag on the axis
  const rows = new Uint32Array(data.buffer).reduce((found, pixel, y) => (pixel === accent ? [...found, y] : found), /** @type {number[]} */ ([]));
  return (rows[0] + rows.at(-1)) / 2 / canvas.height;
});

const written = (page) => page.evaluate(() => [...new Set(window.written)].filter((text) => /interval/.test(text)));

test("a wide interval is cut, and the chart says how far it goes", async (t) => {
  const wide = await openStill(t, { low: 2657, high: 10_663 });
  await wide.waitForFunction(() => window.written.includes("90% interval to $10,663") && window.written.includes("90% interval to $2,657"));
  const narrow = await openStill(t, { low: price * 0.996, high: price * 1.004 });
  assert.deepEqual(await written(narrow), []);
});

test("the curve at the right edge is highest at the price", async (t) => {
  const step = Math.log10(1.001);
  const from = price * 0.9;
  const bins = Math.floor(Math.log10(1.1 / 0.9) / step);
  const middle = Math.log10(1 / 0.9) / step;
  const counts = Array.from({ length: bins }, (_, k) => Math.round(20 + 80 / (1 + ((k + 0.5 - middle) / 2.5) ** 2)));
  const evidence = {
    price, low: price, high: price, confidence: 0.9, timestamp: Date.now() / 1000, rungs: [[10, 0.1]],
    amounts: { from: 1000, step: 0.004, seconds: 10_800, counts: [1, 1], expected: [1, 1] },
    prices: { from, step, seconds: 3600, counts, probabilities: counts.map(() => 0) },
  };
  const page = await openStill(t, { transactions: [], low: price * 0.996, high: price * 1.004 }, { evidence });
  await page.waitForSelector("#evidence-body:visible");
  const line = await lineOf(page);
  /** How wide the curve is at a height: columns from the right that have its colour. @param {number} y */
  const width = async (y) => {
    let columns = 0;
    for (let x = 0.87; x > 0.6 && (await strength(page, x, y, 1)) > 8; x -= 0.01) columns++;
    return columns;
  };
  await page.waitForFunction(() => window.seen.draws > 3);
  const [above, below] = [await width(line - 0.25), await width(line + 0.2)];
  const beside = await width(line - 0.035); // beside the lines at the price
  assert.ok(beside > above + 2 && beside > below + 2, `${beside} columns at the price, ${above} above, ${below} below`);
});
