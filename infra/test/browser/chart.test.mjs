// Tests of interactions with the chart: the selected view stays through updates.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTROL, EDGE, LIVE, chart, dashboard, pauseNode, picture, rangeOf, state, timeAxis, until, updates } from "./harness.mjs";
import { openTab } from "./tab.mjs";

/** Turns the wheel over the chart, and waits until the chart has zoomed. @param {import("playwright-core").Page} page */
async function zoom(page) {
  const box = await (await chart(page)).boundingBox();
  await page.mouse.move(box.x + box.width * 0.88, box.y + box.height * 0.4); // the points of a young page are at the right
  await page.mouse.wheel(0, -300); // one turn: of several, the last might be late
  await page.waitForSelector("#follow:visible");
  await updates(page, 1);
  await page.mouse.move(1, 1); // no tooltip
}

test("a zoom stays through updates, and one click leads back to live", async (t) => {
  const page = await dashboard(t);
  assert.ok(await page.isHidden("#follow"), "the way back to live is shown in a live view");
  await zoom(page);
  const zoomed = await timeAxis(page);
  await updates(page, 3);
  assert.equal(await timeAxis(page), zoomed, "the time axis moved");
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

test("pause stops the chart, and nothing else", async (t) => {
  const page = await dashboard(t);
  await page.click("#pause");
  await updates(page, 1);
  const held = await timeAxis(page);
  await updates(page, 3);
  assert.equal(await timeAxis(page), held, "the chart continued");
  await state(page, LIVE);
  await page.click("#pause");
  await page.waitForFunction((before) => window.seen.messages > before, await page.evaluate(() => window.seen.messages));
  const moved = await picture(page);
  await updates(page, 2);
  assert.notEqual(await picture(page), moved, "the chart did not continue");
});

test("the tooltip describes a point, and stays through updates", async (t) => {
  const page = await dashboard(t);
  await zoom(page);
  const box = await (await chart(page)).boundingBox();
  const found = await findPoint(page, box);
  assert.ok(found, "no position of the chart has a tooltip");
  const tooltip = await page.textContent("#tooltip");
  assert.match(tooltip, /\$[\d,.]+/);
  assert.match(tooltip, /\d:\d\d/);
  await updates(page, 3);
  assert.ok(await page.isVisible("#tooltip"), "the tooltip disappeared");
  assert.match(await page.textContent("#tooltip"), /\$[\d,.]+/);
});

/** Whether an output of the block has the value in a text, within the rounding to cents. @param {string} words */
async function isPaid(words) {
  const [, price, amount] = words.match(/^\$([\d,.]+), a round \$([\d,.]+),/).map((text) => Number(text.replaceAll(",", "")));
  const satoshi = (cents) => (1e8 * amount) / (price + cents / 100);
  const outputs = await (await fetch(CONTROL + "/outputs")).json();
  return outputs.some((o) => o >= Math.floor(satoshi(0.5)) && o <= Math.ceil(satoshi(-0.5)));
}

const askedForAmounts = (page) => page.evaluate(() => performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/v1/points")).length);

test("hovering shows the round amount, which the page requested when it opened", async (t) => {
  await pauseNode(t);
  const page = await dashboard(t);
  await page.waitForFunction(() => performance.getEntriesByType("resource").some((e) => e.name.includes("/api/v1/points")));
  assert.ok(await findPoint(page, await (await chart(page)).boundingBox()), "no position of the chart has a tooltip");
  await page.waitForFunction(() => /a round \$\d/.test(document.getElementById("tooltip").textContent));
  const words = (await page.innerText("#tooltip")).replaceAll("\n", ", ");
  assert.ok(await isPaid(words), `no output has this value: ${words}`);
  assert.ok(!(await isPaid(words.replace("a round $", "a round $7"))), "the check accepts any amount");
  await updates(page, 2);
  assert.equal(await askedForAmounts(page), 1);
});

test("a later point's amount is requested when the point is selected, also by keyboard", async (t) => {
  const page = await dashboard(t);
  await updates(page, 2); // with points without a request
  await pauseNode(t);
  await updates(page, 2);
  await (await chart(page)).evaluate((canvas) => canvas.closest("[tabindex]").focus());
  await page.keyboard.press("End");
  await page.waitForFunction(() => /a round \$\d/.test(document.getElementById("reading").textContent));
  const [said, shown] = [await page.textContent("#reading"), await page.innerText("#tooltip")];
  assert.ok(await isPaid(said), `no output has this value: ${said}`);
  assert.equal(said, shown.replaceAll("\n", ", "));
  assert.equal(await askedForAmounts(page), 2);
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction((before) => document.getElementById("reading").textContent !== before, said);
  const other = await page.textContent("#reading");
  assert.match(other, /a round \$\d/);
  assert.ok(await isPaid(other), `no output has this value: ${other}`);
  assert.equal(await askedForAmounts(page), 2, "known amounts are fetched again");
});

test("two fingers zoom, and the time between them keeps its position", async (t) => {
  await until(async () => { // no view is longer than the data
    const { points } = await (await fetch(`${EDGE}/api/v1/history`)).json();
    return points.length > 0 && points[0][0] < Date.now() / 1000 - 24;
  }, "24 s of history");
  const now = Date.now() / 1000;
  const page = await dashboard(t, { url: `${EDGE}/#zone=utc&from=${now - 24}&to=${now}`, context: { hasTouch: true } });
  const whole = await rangeOf(page);
  const box = await (await chart(page)).boundingBox();
  const [x, y] = [box.x + box.width * 0.75, box.y + box.height / 2];
  const session = await page.context().newCDPSession(page);
  const touch = (type, ...apart) => session.send("Input.dispatchTouchEvent", {
    type, touchPoints: apart.flatMap((d) => [{ x: x - d, y, id: 0 }, { x: x + d, y, id: 1 }]),
  });
  await touch("touchStart", 60);
  for (let apart = 70; apart <= 120; apart += 10) await touch("touchMove", apart);
  await touch("touchEnd");
  const near = await rangeOf(page);
  t.diagnostic(`seconds of the day: ${whole}, then ${near}`);
  const length = ([from, to]) => to - from;
  const between = ([from, to]) => from + 0.8 * (to - from); // the right axis takes a part of the width
  assert.ok(Math.abs(length(near) - 12) <= 2, `twice as far apart: ${length(whole)} s became ${length(near)} s`);
  assert.ok(Math.abs(between(near) - between(whole)) <= 2, `from ${whole} to ${near}`);
  assert.ok(await page.isHidden("#tooltip"), "the gesture counted as a tap");
  await touch("touchStart", 120);
  for (let apart = 110; apart >= 60; apart -= 10) await touch("touchMove", apart);
  await touch("touchEnd");
  const back = await rangeOf(page);
  assert.ok(Math.abs(length(back) - 24) <= 3, `and back: ${length(back)} s`);
  assert.equal(await page.evaluate(() => visualViewport.scale), 1, "the page itself was zoomed");
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

test("arrow keys move from point to point", async (t) => {
  const page = await dashboard(t);
  await page.click("#pause"); // so that the chart does not move
  await (await chart(page)).evaluate((canvas) => canvas.closest("[tabindex]").focus());
  await page.keyboard.press("ArrowLeft");
  await page.waitForSelector("#tooltip:visible");
  const first = await page.textContent("#tooltip");
  assert.match(first, /\$[\d,.]+/);
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction((before) => document.getElementById("tooltip").textContent !== before, first);
});

test("a hidden tab draws nothing, and catches up when it is visible", async (t) => {
  const tab = await openTab(t, EDGE + "/");
  await tab.until(`/^live/.test(document.getElementById("state")?.textContent.trim())`);
  await tab.until(`window.seen.draws > 0`);
  await tab.hide();
  await tab.until(`document.hidden`);
  const [draws, messages] = await tab.evaluate(`[seen.draws, seen.messages]`);
  await tab.until(`window.seen.messages >= ${messages + 4}`);
  const [after, hidden] = await tab.evaluate(`[seen.draws, document.hidden]`);
  assert.ok(hidden);
  assert.equal(after, draws, "the chart was drawn in a hidden tab");
  await tab.show();
  await tab.until(`!document.hidden && window.seen.draws > ${draws}`);
  await tab.until(`/^live/.test(document.getElementById("state").textContent.trim())`);
});
