// Tests of a reader's settings and exports, and of the keyboard's use.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { chart, dashboard, open, rangeOf, state, updates, LIVE } from "./harness.mjs";

/** Every control of the page. The element with the chart's canvas is one, too. */
const CONTROLS = ["pause", "theme", "zone", "show-table", "export", "permalink"];

test("Tab reaches every control, each with a name and a visible focus", async (t) => {
  const page = await dashboard(t);
  const stops = await walk(page);
  t.diagnostic(stops.map((s) => `${s.id || s.tag}: ${s.name}`).join("; "));
  for (const stop of stops) {
    assert.ok(stop.name, `no accessible name: ${stop.html}`);
    assert.ok(stop.outlined, `no visible focus: ${stop.html}`);
  }
  for (const id of CONTROLS) assert.ok(stops.some((s) => s.ids.includes(id)), `Tab does not reach ${id}`);
  assert.ok(stops.some((s) => s.chart), "Tab does not reach the chart");
});

test("Tab reaches the way back to live, and Enter activates it", async (t) => {
  const page = await dashboard(t);
  await (await chart(page)).evaluate((canvas) => canvas.closest("[tabindex]").focus());
  await page.keyboard.press("+");
  await page.waitForSelector("#follow:visible");
  assert.ok((await walk(page)).some((s) => s.id === "follow"));
  await page.focus("#follow");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#follow", { state: "hidden" });
});

/** Presses Tab until the first stop repeats, and describes every stop. @param {import("playwright-core").Page} page */
async function walk(page) {
  const session = await page.context().newCDPSession(page);
  await page.evaluate(() => { // from the top of the page
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    window.visited = new Set();
  });
  const stops = [];
  for (let i = 0; i < 100; i++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(look);
    if (!stop) break;
    const { result } = await session.send("Runtime.evaluate", { expression: "document.activeElement" });
    const { nodes } = await session.send("Accessibility.getPartialAXTree", { objectId: result.objectId, fetchRelatives: false });
    stops.push({ ...stop, name: nodes[0]?.name?.value ?? "" });
  }
  return stops;
}

/** Describes the focused element; null if there is none, or if it was described before. */
function look() {
  const e = document.activeElement;
  if (!e || e === document.body || window.visited.has(e)) return null;
  window.visited.add(e);
  const drawn = (/** @type {Element} */ of) => {
    const style = getComputedStyle(of);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  };
  const ids = [];
  for (let up = e; up; up = up.parentElement) if (up.id) ids.push(up.id);
  const label = e.labels?.[0]; // a radio button's own box may be invisible
  return {
    tag: e.localName, id: e.id, ids, html: e.outerHTML.slice(0, 120),
    chart: e.localName === "canvas" || (e.tabIndex === 0 && e.localName !== "main" && e.querySelector("canvas") !== null),
    outlined: drawn(e) || (label ? drawn(label) : false),
  };
}

test("the table has the newest points", async (t) => {
  const page = await dashboard(t);
  assert.ok(await page.isHidden("#table"));
  await page.click("#show-table");
  await page.waitForSelector("#table:visible");
  await page.waitForFunction(() => document.querySelectorAll("#table tr td").length >= 10);
  const text = await page.innerText("#table");
  assert.match(text, /\$[\d,.]+/);
  assert.match(text, /\d:\d\d/);
  assert.ok(await page.locator("#table th").count() >= 2, "the columns have no headers");
  await page.waitForFunction((before) => document.getElementById("table").innerText !== before, text);
  await page.click("#show-table");
  await page.waitForSelector("#table", { state: "hidden" });
});

/**
 * Chooses a value of a select, or of a group of buttons.
 * @param {import("playwright-core").Page} page @param {string} id @param {RegExp} wanted
 */
async function choose(page, id, wanted) {
  const values = await page.locator(`#${id} option`).evaluateAll((all) => all.map((o) => [o.value, o.textContent]));
  if (values.length > 0) return page.selectOption(`#${id}`, values.find((v) => v.some((word) => wanted.test(word)))[0]);
  const choices = page.locator(`#${id} button, #${id} label, button#${id}`);
  return choices.filter({ hasText: wanted }).first().click();
}

const paper = (page) => page.evaluate(() => {
  const c = document.createElement("canvas").getContext("2d");
  c.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
  const body = getComputedStyle(document.body).backgroundColor;
  c.fillRect(0, 0, 1, 1);
  if (!/, 0\)/.test(body)) { c.fillStyle = body; c.fillRect(0, 0, 1, 1); }
  return c.getImageData(0, 0, 1, 1).data[1];
});

test("the theme follows the system until one is selected, which is stored", async (t) => {
  const page = await dashboard(t, { context: { colorScheme: "light" } });
  const light = await paper(page);
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await paper(page);
  assert.ok(light > 200 && dark < 80, `light ${light}, dark ${dark}`);
  await page.emulateMedia({ colorScheme: "light" });
  await choose(page, "theme", /dark/i);
  assert.equal(await paper(page), dark);
  await page.reload();
  await state(page, LIVE);
  assert.equal(await paper(page), dark, "the selection was not stored");
});

test("the selected time zone is stored", async (t) => {
  const page = await dashboard(t, { context: { timezoneId: "Asia/Tokyo" } });
  await page.click("#show-table");
  await page.waitForFunction(() => document.querySelectorAll("#table tr td").length >= 2);
  const hours = () => page.evaluate(() => Number(document.getElementById("table").innerText.match(/(\d+):\d\d/)[1]));
  const local = await hours();
  await choose(page, "zone", /utc/i);
  await page.waitForFunction((before) => Number(document.getElementById("table").innerText.match(/(\d+):\d\d/)[1]) !== before, local);
  await page.reload();
  await state(page, LIVE);
  if (await page.isHidden("#table")) await page.click("#show-table");
  await page.waitForFunction(() => document.querySelectorAll("#table tr td").length >= 2);
  assert.notEqual(await hours(), local, "the selection was not stored");
});

test("a permalink restores the view", async (t) => {
  const reader = { colorScheme: "light", timezoneId: "Asia/Tokyo" };
  const page = await dashboard(t, { context: { ...reader, permissions: ["clipboard-read", "clipboard-write"] } });
  await choose(page, "theme", /dark/i);
  await choose(page, "zone", /utc/i);
  const box = await (await chart(page)).boundingBox();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.4);
  await page.mouse.wheel(0, -300);
  await page.waitForSelector("#follow:visible");
  await updates(page, 1);
  const [range, dark] = [await rangeOf(page), await paper(page)];
  await page.click("#permalink");
  const url = await linkOf(page);
  t.diagnostic(url.replace(/^.*?\/\/[^/]*/, ""));
  const other = await open(t, { url, context: reader }); // another reader without settings
  await state(other, LIVE);
  await other.waitForSelector("#follow:visible");
  await updates(other, 2);
  assert.equal(await paper(other), dark);
  const restored = await rangeOf(other);
  for (const end of [0, 1]) assert.ok(Math.abs(restored[end] - range[end]) <= 1, `from ${range}, in seconds of the day, to ${restored}`);
});

/** The link from the address bar or the clipboard. */
async function linkOf(page) {
  const copied = await page.evaluate(() => navigator.clipboard.readText().catch(() => ""));
  return copied.startsWith("http") ? copied : page.url();
}

test("the chart is exported as a PNG", async (t) => {
  const page = await dashboard(t);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export")]);
  assert.match(download.suggestedFilename(), /\.png$/);
  const file = await readFile(await download.path());
  const { width, height, colours } = decode(file);
  assert.ok(width >= 600 && height >= 200, `${width} by ${height}`);
  assert.ok(colours > 5, `${colours} different bytes: the picture is empty`);
});

/** Decodes as much of a PNG as shows that it has a picture. @param {Buffer} file */
function decode(file) {
  assert.equal(file.subarray(0, 8).toString("latin1"), "\x89PNG\r\n\x1a\n");
  const data = [];
  for (let at = 8; at < file.length;) {
    const length = file.readUInt32BE(at);
    if (file.toString("latin1", at + 4, at + 8) === "IDAT") data.push(file.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const colours = new Set(inflateSync(Buffer.concat(data))).size;
  return { width: file.readUInt32BE(16), height: file.readUInt32BE(20), colours };
}
