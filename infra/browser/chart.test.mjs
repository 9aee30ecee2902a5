// The chart under a reader's hands: what they chose to see stays, whatever comes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EDGE, chart, dashboard, picture, state, timeAxis, updates, LIVE } from "./harness.mjs";
import { openTab } from "./tab.mjs";

/** Turns the wheel over the chart, and waits until the picture has followed. @param {import("playwright-core").Page} page */
async function zoom(page) {
  const box = await (await chart(page)).boundingBox();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.4);
  await page.mouse.wheel(0, -300); // at once: of several turns the last might come late
  await page.waitForSelector("#follow:visible");
  await updates(page, 1);
  await page.mouse.move(1, 1); // no tooltip
}

test("a zoom stays through updates, and one click leads back to live", async (t) => {
  const page = await dashboard(t);
  assert.ok(await page.isHidden("#follow"), "there is a way back to live before anyone left it");
  await zoom(page);
  const zoomed = await timeAxis(page);
  await updates(page, 3);
  assert.equal(await timeAxis(page), zoomed, "the time axis moved under the reader");
  assert.ok(await page.isVisible("#follow"));
  await page.click("#follow");
  await page.waitForSelector("#follow", { state: "hidden" });
  await updates(page, 1);
  assert.notEqual(await timeAxis(page), zoomed);
});

test("dragging pans", async (t) => {
  const page = await dashboard(t);
  await zoom(page);
  const before = await timeAxis(page);
  const box = await (await chart(page)).boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height * 0.5);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.5, { steps: 5 });
  await page.mouse.up();
  await updates(page, 1);
  assert.notEqual(await timeAxis(page), before);
});

test("pause holds the picture, and only that", async (t) => {
  const page = await dashboard(t);
  await page.click("#pause");
  await updates(page, 1);
  const held = await timeAxis(page);
  await updates(page, 3);
  assert.equal(await timeAxis(page), held, "the picture went on");
  await state(page, LIVE);
  await page.click("#pause");
  await page.waitForFunction((before) => window.seen.messages > before, await page.evaluate(() => window.seen.messages));
  const moved = await picture(page);
  await updates(page, 2);
  assert.notEqual(await picture(page), moved, "the picture did not go on");
});

test("the tooltip tells of a point, and stays through updates", async (t) => {
  const page = await dashboard(t);
  await zoom(page);
  const box = await (await chart(page)).boundingBox();
  const found = await findPoint(page, box);
  assert.ok(found, "no place of the chart has a tooltip");
  const told = await page.textContent("#tooltip");
  assert.match(told, /\$[\d,.]+/);
  assert.match(told, /\d:\d\d/);
  await updates(page, 3);
  assert.ok(await page.isVisible("#tooltip"), "the tooltip went away");
  assert.match(await page.textContent("#tooltip"), /\$[\d,.]+/);
});

/** Moves the pointer over the chart until it finds a point. */
async function findPoint(page, box) {
  for (let row = 1; row < 12; row++) {
    for (let column = 12; column > 0; column--) {
      await page.mouse.move(box.x + (box.width * column) / 14, box.y + (box.height * row) / 14);
      if (await page.isVisible("#tooltip")) return true;
    }
  }
  return false;
}

test("arrow keys go from point to point", async (t) => {
  const page = await dashboard(t);
  await zoom(page); // in a picture that stands still
  await (await chart(page)).evaluate((canvas) => canvas.closest("[tabindex]").focus());
  await page.keyboard.press("ArrowLeft");
  await page.waitForSelector("#tooltip:visible");
  const first = await page.textContent("#tooltip");
  assert.match(first, /\$[\d,.]+/);
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction((before) => document.getElementById("tooltip").textContent !== before, first);
});

test("a hidden tab draws nothing, and catches up", async (t) => {
  const tab = await openTab(t, EDGE + "/");
  await tab.until(`/^live/.test(document.getElementById("state")?.textContent.trim())`);
  await tab.until(`window.seen.draws > 0`);
  await tab.hide();
  await tab.until(`document.hidden`);
  const [draws, messages] = await tab.evaluate(`[seen.draws, seen.messages]`);
  await tab.until(`window.seen.messages >= ${messages + 4}`);
  const [after, hidden] = await tab.evaluate(`[seen.draws, document.hidden]`);
  assert.ok(hidden);
  assert.equal(after, draws, "it drew while nobody could see it");
  await tab.show();
  await tab.until(`!document.hidden && window.seen.draws > ${draws}`);
  await tab.until(`/^live/.test(document.getElementById("state").textContent.trim())`);
});
