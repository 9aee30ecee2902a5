// The chart under a reader's hands: what they chose to see stays, whatever comes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTROL, EDGE, LIVE, chart, dashboard, pauseNode, picture, rangeOf, state, timeAxis, until, updates } from "./harness.mjs";
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
  const tooltip = await page.textContent("#tooltip");
  assert.match(tooltip, /\$[\d,.]+/);
  assert.match(tooltip, /\d:\d\d/);
  await updates(page, 3);
  assert.ok(await page.isVisible("#tooltip"), "the tooltip went away");
  assert.match(await page.textContent("#tooltip"), /\$[\d,.]+/);
});

/** Whether an output of the block has the worth that words tell of, as far as cents do. @param {string} words */
async function isPaid(words) {
  const [, price, amount] = words.match(/^\$([\d,.]+), a round \$([\d,.]+),/).map((text) => Number(text.replaceAll(",", "")));
  const satoshi = (cents) => (1e8 * amount) / (price + cents / 100);
  const outputs = await (await fetch(CONTROL + "/outputs")).json();
  return outputs.some((o) => o >= Math.floor(satoshi(0.5)) && o <= Math.ceil(satoshi(-0.5)));
}

const askedForAmounts = (page) => page.evaluate(() => performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/v1/points")).length);

test("hover tells which round amount was paid, which the page asked for when it opened", async (t) => {
  await pauseNode(t);
  const page = await dashboard(t);
  await page.waitForFunction(() => performance.getEntriesByType("resource").some((e) => e.name.includes("/api/v1/points")));
  assert.ok(await findPoint(page, await (await chart(page)).boundingBox()), "no place of the chart has a tooltip");
  await page.waitForFunction(() => /a round \$\d/.test(document.getElementById("tooltip").textContent));
  const words = (await page.innerText("#tooltip")).replaceAll("\n", ", ");
  assert.ok(await isPaid(words), `nothing was paid that is worth this: ${words}`);
  assert.ok(!(await isPaid(words.replace("a round $", "a round $7"))), "any amount would do");
  await updates(page, 2);
  assert.equal(await askedForAmounts(page), 1);
});

test("a point that came later is asked for when it is read, and said by keyboard too", async (t) => {
  const page = await dashboard(t);
  await updates(page, 2); // with points that nobody asked for
  await pauseNode(t);
  await updates(page, 2);
  await (await chart(page)).evaluate((canvas) => canvas.closest("[tabindex]").focus());
  await page.keyboard.press("End");
  await page.waitForFunction(() => /a round \$\d/.test(document.getElementById("reading").textContent));
  const [said, shown] = [await page.textContent("#reading"), await page.innerText("#tooltip")];
  assert.ok(await isPaid(said), `nothing was paid that is worth this: ${said}`);
  assert.equal(said, shown.replaceAll("\n", ", "));
  assert.equal(await askedForAmounts(page), 2);
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction((before) => document.getElementById("reading").textContent !== before, said);
  const other = await page.textContent("#reading");
  assert.match(other, /a round \$\d/);
  assert.ok(await isPaid(other), `nothing was paid that is worth this: ${other}`);
  assert.equal(await askedForAmounts(page), 2, "it fetched known amounts again");
});

test("two fingers zoom, and the time between them stays there", async (t) => {
  await until(async () => { // no view is longer than what there is to see
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
  const between = ([from, to]) => from + 0.8 * (to - from); // there is an axis at the right
  assert.ok(Math.abs(length(near) - 12) <= 2, `twice as far apart: ${length(whole)} s became ${length(near)} s`);
  assert.ok(Math.abs(between(near) - between(whole)) <= 2, `from ${whole} to ${near}`);
  assert.ok(await page.isHidden("#tooltip"), "the fingers were taken for a tap");
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
