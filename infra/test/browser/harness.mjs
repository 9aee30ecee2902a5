// Shared by the scripts: the browser, pages that record their own events, and control of the environment.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { LIVE, launch, state, watch } from "./chromium.mjs";
import { YEAR, decade, keysOf } from "./decade.mjs";

export { LIVE, state };

/** @typedef {import("playwright-core").Page} Page */

const { EDGE, EMPTY_EDGE, CONTROL } = process.env;
if (!EDGE) throw new Error("EDGE is not set: `make browser` runs these");
export { EDGE, EMPTY_EDGE, CONTROL };

export const PAGES = { dashboard: "/", card: "/embed", clock: "/clock" };
export const THEMES = /** @type {const} */ (["light", "dark"]);

export const STRONGER = {
  "more contrast, light": { contrast: "more", colorScheme: "light" },
  "more contrast, dark": { contrast: "more", colorScheme: "dark" },
  "forced colours, light": { forcedColors: "active", colorScheme: "light" },
  "forced colours, dark": { forcedColors: "active", colorScheme: "dark" },
};

/** Far more than any condition takes, even on a busy machine; in ms. */
export const PATIENCE = Number(process.env.PATIENCE ?? 30_000);

export const browser = await launch();
after(() => browser.close());

/** Changes the environment: "/edge/kill", for example. @param {string} path */
export async function control(path) {
  const answer = await fetch(CONTROL + path, { method: "POST" });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
}

/**
 * Pauses the node until the test ends, so that the newest points do not change. The price is live and stays so: while
 * it is warming, no page would become live without new transactions.
 * @param {import("node:test").TestContext} t
 */
export async function pauseNode(t) {
  t.after(() => control("/node/go"));
  const ask = async (path) => (await fetch(EDGE + path)).json();
  const isLive = async () => (await ask("/api/v1/snapshot")).status === "live";
  do {
    await control("/node/go");
    await until(isLive, "the price to be live");
    await control("/node/pause");
    const first = await ask("/api/v1/snapshot");
    await until(async () => {
      const [{ seq, transactions }, { points }] = [await ask("/api/v1/snapshot"), await ask("/api/v1/points")];
      if (seq < first.seq + 3) return false; // what came before the pause is in it
      return JSON.stringify(points.map(([t, price]) => [t, price])) === JSON.stringify(transactions.map((p) => [p.timestamp, p.price]));
    }, "the edge to know all amounts");
  } while (!(await isLive()));
}

/**
 * Opens a page of its own browser context. When the test ends, the page must have had no console error, no violation of
 * its policy and no request to anywhere but the path that it is under; expected are those errors that the test itself
 * provokes. prepare runs before the page is loaded.
 * @param {import("node:test").TestContext} t
 * @param {{url?: string, context?: object, expected?: RegExp[], prepare?: (page: Page) => Promise<void>}} [options]
 */
export async function open(t, { url = EDGE + "/", context: settings = {}, expected = [], prepare } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-US", ...settings });
  await context.addInitScript(watch);
  const problems = [];
  const page = await context.newPage();
  guard(page, new URL(".", url), problems, expected);
  t.after(async () => {
    const violations = page.isClosed() ? [] : await page.evaluate(() => window.seen?.violations ?? []);
    await context.close();
    assert.deepEqual([...problems, ...violations], [], `what went wrong on ${url} meanwhile`);
  });
  page.setDefaultTimeout(PATIENCE);
  await prepare?.(page);
  await page.goto(url);
  return page;
}

/** @param {Page} page @param {URL} base @param {string[]} problems @param {RegExp[]} expected */
function guard(page, base, problems, expected) {
  const outside = (/** @type {string} */ url) => !url.replace(/^ws/, "http").startsWith(base.href);
  const note = (/** @type {string} */ text) => expected.some((e) => e.test(text)) || problems.push(text);
  page.on("console", (m) => m.type() === "error" && note(`console: ${m.text()}`));
  page.on("pageerror", (e) => note(`exception: ${e.stack}`));
  page.on("request", (r) => outside(r.url()) && !/^(data|blob):/.test(r.url()) && note(`request to ${r.url()}`));
  page.on("websocket", (s) => outside(s.url()) && note(`socket to ${s.url()}`));
}

/** Opens the dashboard and waits until it is live, with a picture. @param {any} t @param {any} [options] */
export async function dashboard(t, options) {
  const page = await open(t, options);
  await state(page, LIVE);
  await drawn(page);
  return page;
}

/** Waits until the page shows an amount: it comes in the frame after the words of the state. @param {Page | import("playwright-core").Frame} page */
export async function priced(page) {
  await page.waitForFunction(() => /\d/.test(document.getElementById("price").textContent));
}

/**
 * With PICTURES=1, as `make browser` sets it, takes a picture for people to look at, out/NAME.png. No check depends on it, and
 * for about one of 300 full pages Chromium 156 does not respond, and stops drawing the page for minutes.
 * @param {Page} page @param {string} name @param {{fullPage?: boolean}} [options]
 */
export async function shoot(page, name, options) {
  if (process.env.PICTURES) await page.screenshot({ path: `out/${name}.png`, ...options });
}

/** Waits until the chart shows something. @param {Page} page */
export async function drawn(page) {
  await page.waitForFunction(chartHash, null);
}

/** Waits for n more updates of the stream. @param {Page} page */
export async function updates(page, n = 3) {
  const before = await page.evaluate(() => window.seen.messages);
  await page.waitForFunction((least) => window.seen.messages >= least, before + n);
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
}

/** The chart's canvas: the largest. @param {Page} page */
export function chart(page) {
  return page.evaluateHandle(() => {
    const area = (/** @type {HTMLCanvasElement} */ c) => c.clientWidth * c.clientHeight;
    return [...document.querySelectorAll("canvas")].sort((a, b) => area(b) - area(a))[0];
  });
}

/** A hash of what the chart shows, or of its lowest rows, where the time axis is; 0 if it shows nothing. */
function chartHash(/** @type {number | null} */ rows) {
  const area = (/** @type {HTMLCanvasElement} */ c) => c.clientWidth * c.clientHeight;
  const canvas = [...document.querySelectorAll("canvas")].sort((a, b) => area(b) - area(a))[0];
  if (!canvas || !canvas.width) return 0;
  const height = rows ?? canvas.height;
  const { data } = canvas.getContext("2d").getImageData(0, canvas.height - height, canvas.width, height);
  let hash = 0;
  let painted = false;
  for (const word of new Uint32Array(data.buffer)) {
    painted ||= word !== 0;
    hash = (Math.imul(hash, 31) + word) | 0;
  }
  return painted ? hash || 1 : 0;
}

/** @param {Page} page */
export const picture = (page) => page.evaluate(chartHash, null);

const AXIS_ROWS = 20; // of pixels: the labels of the time axis, and nothing else

/** The labels of the time axis, which identify its range. @param {Page} page */
export const timeAxis = (page) => page.evaluate(chartHash, AXIS_ROWS);

/** Which time the chart shows, in seconds of the reader's day. @param {import("playwright-core").Page} page */
export async function rangeOf(page) {
  const text = await page.textContent("#range");
  const times = [...text.matchAll(/(\d+):(\d\d):(\d\d)( PM)?/g)].map(([, h, m, s, late]) => (h % 12 + (late ? 12 : 0)) * 3600 + m * 60 + Number(s));
  assert.equal(times.length, 2, `what is shown: ${text}`);
  return times;
}

/** Polls until met gives what is not false. @param {() => Promise<any>} met @param {string} what */
export async function until(met, what) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const got = await met();
    if (got) return got;
    assert.ok(Date.now() < end, `waited ${PATIENCE / 1000} s for ${what}`);
    await pause(50);
  }
}

/** Adds a history of ten years that ends at the current price, before the ingester's own begins, unless it is there. */
export async function addDecade() {
  if ((await ask("from=0")).points?.[0][0] < Date.now() / 1000 - 9 * YEAR) return;
  const { price } = await (await fetch(`${EDGE}/api/v1/snapshot`)).json();
  const { points: [[begin]] } = await ask("from=0");
  const answer = await fetch(`${CONTROL}/history`, { method: "POST", body: JSON.stringify(keysOf(decade(begin, price))) });
  assert.ok(answer.ok);
  for (const change of ["/edge/kill", "/edge/start"]) await control(change); // it reads the coarse series once a minute
  await until(async () => (await ask("from=0")).points?.[0][0] < begin - 9 * YEAR, "the edge to have the rows");
}

const ask = async (/** @type {string} */ query) => (await fetch(`${EDGE}/api/v1/history?${query}`)).json();

/** Presses a range's button, and waits until its line is drawn. @param {import("playwright-core").Page} page @param {string} name */
export async function chooseRange(page, name) {
  await page.click(`#ranges button[value="${name}"]`);
  await shown(page, name);
}

/** Waits until a range is drawn as it stays. @param {import("playwright-core").Page} page @param {string} name */
export async function shown(page, name) {
  await page.waitForSelector(`#ranges button[value="${name}"][aria-pressed="true"]`);
  await page.waitForFunction((isLine) => {
    const range = document.getElementById("range").textContent;
    return !/Loading/.test(range) && (!isLine || /^The price over time/.test(document.getElementById("chart").getAttribute("aria-label")));
  }, name !== "");
  await updates(page, 1);
  await page.waitForFunction(() => !/Loading/.test(document.getElementById("range").textContent));
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * Serious violations that axe finds, as text.
 * @param {import("playwright-core").Page} page @param {string[]} [rules] that are off by default
 */
export async function barriers(page, rules = []) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate((also) => window.axe.run(document, {
    resultTypes: ["violations"],
    rules: Object.fromEntries(also.map((rule) => [rule, { enabled: true }])),
    preload: false, // it turns imported style sheets into inline styles, which the page's policy forbids
  }), rules);
  const serious = violations.filter((v) => ["serious", "critical"].includes(v.impact));
  return serious.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html.slice(0, 100))}`);
}

/** By how much the page is wider than the window. @param {Page} page */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
