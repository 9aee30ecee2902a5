// Tests of the stream on the page, and of its texts for faults.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EDGE, EMPTY_EDGE, LIVE, PATIENCE, browser, chart, control, dashboard, open, picture, state, updates } from "./harness.mjs";

const REJECTED_SOCKET = /WebSocket connection to .* failed|Failed to load resource: net::ERR_(CONNECTION_(REFUSED|RESET)|EMPTY_RESPONSE|INTERNET_DISCONNECTED)|error occurred when fetching the script/;

test("a fresh page shows the price and its time", async (t) => {
  const page = await open(t);
  await page.waitForFunction(() => window.seen.firstPrice > 0);
  const snapshot = await (await fetch(`${EDGE}/api/v1/snapshot`)).json();
  const shown = Number((await page.textContent("#price")).replace(/[^\d.]/g, ""));
  assert.ok(Math.abs(shown / snapshot.price - 1) < 0.02, `shown ${shown}, the API has ${snapshot.price}`);
  assert.match(await page.title(), /\$\d/);
  t.diagnostic(`first price ${Math.round(await page.evaluate(() => window.seen.firstPrice))} ms after navigation`);
});

test("the chart draws points", async (t) => {
  const page = await dashboard(t);
  const blobs = await page.waitForFunction(countBlobs, await chart(page));
  t.diagnostic(`${await blobs.jsonValue()} pixels belong to objects of a point's size`);
});

/**
 * Counts the pixels of objects that are small in both directions: neither lines nor areas; labels are outside. They
 * must be spread over the height, unlike a line.
 * @param {HTMLCanvasElement} canvas
 */
function countBlobs(canvas) {
  const { width, height } = canvas;
  const data = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer);
  const reach = Math.round(8 * devicePixelRatio);
  const differs = (i, step) => data[i] !== data[i - step] && data[i] !== data[i + step];
  let found = 0;
  const twentieths = new Set();
  for (let y = Math.round(height * 0.05); y < height * 0.88; y++) {
    for (let x = Math.round(width * 0.08); x < width * 0.92; x++) {
      const i = y * width + x;
      if (!differs(i, reach) || !differs(i, reach * width)) continue;
      found++;
      twentieths.add(Math.floor((20 * y) / height));
    }
  }
  return found > 200 && twentieths.size >= 12 && found;
}

test("updates arrive and are shown", async (t) => {
  const page = await dashboard(t);
  const before = await page.evaluate(() => ({ seq: window.seen.seq, received: document.getElementById("received").textContent }));
  const drawnBefore = await picture(page);
  await updates(page, 4);
  const now = await page.evaluate(() => ({ seq: window.seen.seq, received: document.getElementById("received").textContent }));
  assert.ok(now.seq >= before.seq + 4, `seq ${before.seq}, then ${now.seq}`);
  assert.notEqual(now.received, before.received);
  assert.notEqual(await picture(page), drawnBefore);
  assert.equal(await page.evaluate(() => window.seen.sockets[0].protocol), "sightglass.delta.v1");
});

test("a killed edge: the page shows that it reconnects, and recovers", async (t) => {
  const page = await dashboard(t, { expected: [REJECTED_SOCKET] });
  await page.evaluate(() => { window.seen.states.length = 0; });
  const seqBefore = await page.evaluate(() => window.seen.seq);
  await control("/edge/kill");
  await state(page, /^reconnecting/);
  await page.waitForFunction(() => window.seen.states.some((s) => /^reconnecting in \d+ s/.test(s)));
  assert.ok(/\d/.test(await page.textContent("#price")), "the last price disappeared");
  await control("/edge/start");
  await state(page, LIVE);
  await updates(page, 2);
  const { states, first, seq } = await page.evaluate(() => ({
    states: window.seen.states, first: window.seen.sockets.at(-1).first, seq: window.seen.seq,
  }));
  t.diagnostic(`states: ${states.join(" - ")}`);
  const back = states.findLastIndex((s) => LIVE.test(s));
  assert.ok(states.slice(0, back).every((s) => /^(reconnecting|connecting|live|warming|stale)/.test(s)), states.join(" - "));
  const away = (/** @type {string} */ s) => s.startsWith("reconnecting"); // before, the state may have been stale and live again
  assert.ok(!states.slice(states.findIndex(away), states.findLastIndex(away)).some((s) => LIVE.test(s)),
    `live while the edge was down: ${states.join(" - ")}`);
  assert.ok(first.transactions > 900, `the first message after it has ${first.transactions} points`);
  assert.ok(seq > seqBefore);
  await page.waitForFunction(countBlobs, await chart(page));
});

test("the page reconnects at once when the network is back", async (t) => {
  const page = await dashboard(t, { expected: [REJECTED_SOCKET] });
  await page.evaluate(() => { Math.random = () => 0.999; }); // the longest possible wait
  await page.context().setOffline(true);
  await control("/edge/kill");
  await control("/edge/start");
  await state(page, /^no network/);
  await page.waitForFunction(() => window.seen.sockets.length >= 5); // the next wait is of 4 s at least
  await page.evaluate(() => {
    const { states } = window.seen;
    addEventListener("online", () => { states.length = 0; }, { capture: true });
  });
  await page.context().setOffline(false);
  await state(page, LIVE);
  const states = await page.evaluate(() => window.seen.states);
  assert.ok(states.length > 0 && !states.some((s) => /^reconnecting in/.test(s)), `the page waited: ${states.join(" - ")}`);
});

test("a stopping edge sends its close reason, and the page reconnects", async (t) => {
  const page = await dashboard(t, { expected: [REJECTED_SOCKET] });
  await control("/edge/stop");
  await state(page, /^reconnecting/);
  await control("/edge/start");
  await state(page, LIVE);
});

test("a stopped ingester: the page is stale with an age, and never live", async (t) => {
  const page = await dashboard(t);
  await control("/ingester/stop");
  await state(page, /^stale: last price \d+:\d\d\s[AP]M, \d+ s ago$/);
  await page.evaluate(() => { window.seen.states.length = 0; });
  await page.waitForFunction(() => window.seen.states.length >= 3); // the age increases
  const states = await page.evaluate(() => window.seen.states);
  for (const words of states) assert.match(words, /^stale: last price \d+:\d\d\s[AP]M, \d+ s ago$/);
  assert.match(await page.title(), /stale/);
  const other = await open(t); // a page opened now is stale too
  await state(other, /^stale/);
  assert.ok(!(await other.evaluate(() => window.seen.states)).some((s) => LIVE.test(s)));
  await control("/ingester/start");
  await state(page, LIVE);
  await state(other, LIVE);
});

test("the 11th tab shows that its address has too many connections", async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const tabs = await Promise.all(Array.from({ length: 10 }, () => context.newPage()));
  await Promise.all(tabs.map(async (tab) => {
    await tab.goto(EDGE + "/");
    await tab.waitForFunction(() => /^live/.test(document.getElementById("state").textContent.trim()), null, { timeout: PATIENCE });
  }));
  const page = await open(t, { expected: [REJECTED_SOCKET] });
  await state(page, /too many connections from your address/);
  assert.ok(!(await page.evaluate(() => window.seen.states)).some((s) => LIVE.test(s)));
});

test("without data the page names the missing service and what to do", async (t) => {
  const page = await open(t, { url: EMPTY_EDGE + "/", expected: [/503/] }); // the API's response without data
  await page.waitForFunction(() => /ingester/.test(document.getElementById("hint").textContent));
  assert.ok(await page.isVisible("#hint"));
  assert.ok(!(await page.evaluate(() => window.seen.states)).some((s) => LIVE.test(s)));
});
