// What the page costs: `make bench-browser` prints it.

import { LIVE, launch, state, watch } from "./chromium.mjs";

const { EDGE, FULL_EDGE } = process.env;
const MINUTES = Number(process.env.MINUTES);
const FRAMES = 60; // half a minute
const NAVIGATIONS = 10;
const MOST = 20_000; // points that the page draws
const NEW_EACH = 1000; // of them in a snapshot of FULL_EDGE

const browser = await launch();

const median = (/** @type {number[]} */ all) => [...all].sort((a, b) => a - b)[all.length >> 1];
const ms = (/** @type {number} */ value) => `${value.toFixed(1)} ms`;
const longest = (/** @type {number[]} */ blocks) => (blocks.length > 1 ? ms(Math.max(...blocks)) : "none over 50 ms");
const rows = [];
const row = (what, value, target) => rows.push([what, value, target]);

async function openPage(url, before) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addInitScript(watch);
  await context.addInitScript(() => {
    window.blocks = [0];
    new PerformanceObserver((list) => window.blocks.push(...list.getEntries().map((e) => e.duration))).observe({ type: "longtask", buffered: true });
    window.drawn = [];
    new PerformanceObserver((list) => {
      window.drawn.push(...list.getEntries().filter((e) => e.name === "frame").map((e) => e.duration));
    }).observe({ type: "measure" });
  });
  const page = await context.newPage();
  await before?.(page);
  await page.goto(url);
  await state(page, LIVE);
  return page;
}

async function firstPrices() {
  const times = [];
  for (let i = 0; i < NAVIGATIONS; i++) {
    const page = await openPage(EDGE + "/");
    times.push(await page.evaluate(() => window.seen.firstPrice));
    await page.context().close();
  }
  row("first price after navigation, median", ms(median(times)), "under 500 ms");
  row("first price after navigation, worst", ms(Math.max(...times)), "");
}

/** Seconds of scripting, by the browser's own count. */
async function scripting(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  return async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find((m) => m.name === "ScriptDuration").value;
  };
}

/** Waits for n messages more. */
async function messages(page, n) {
  const before = await page.evaluate(() => window.seen.messages);
  await page.waitForFunction((least) => window.seen.messages >= least, before + n, { timeout: 0, polling: 500 });
}

async function frames(page, points, target) {
  const read = await scripting(page);
  await page.evaluate(() => { window.drawn.length = 0; window.blocks.length = 1; });
  const before = await read();
  await messages(page, FRAMES);
  const all = (await read()) - before;
  const { drawn, blocks } = await page.evaluate(() => ({ drawn: window.drawn, blocks: window.blocks }));
  row(`${points} points: scripting of a frame, median of ${drawn.length}`, drawn.length ? ms(median(drawn)) : "not measured", target);
  row(`${points} points: all scripting for an update, mean`, ms((1000 * all) / FRAMES), "");
  row(`${points} points: longest block of the main thread`, longest(blocks), "under 50 ms");
  row(`${points} points: its longest task, by processor time`, ms(await longestTask(page, FRAMES)), "under 50 ms");
}

async function heap(page) {
  const session = await page.context().newCDPSession(page);
  const used = async () => {
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize;
  };
  await messages(page, 20); // settled
  const start = await used();
  await messages(page, MINUTES * 120);
  const end = await used();
  const mb = (/** @type {number} */ bytes) => (bytes / 2 ** 20).toFixed(1);
  row(`heap after ${MINUTES} min, ${mb(start)} MB before`, `${mb(end)} MB (${((100 * end) / start - 100).toFixed(1)} %)`, "within 20 %");
}

/**
 * The longest task of the main thread by its processor time: what it would take on a machine that does nothing else.
 * Only a page that is alone in its browser may be asked for it.
 */
async function longestTask(page, n) {
  await startTracing(page);
  await messages(page, n);
  return longestTraced(page);
}

const startTracing = (page) => browser.startTracing(page, { categories: ["toplevel", "devtools.timeline", "blink.user_timing", "__metadata"] });

/** Ends the trace. The page marks its process in it: Chromium's own pages, such as the address bar's list, have longer tasks. */
async function longestTraced(page) {
  await page.evaluate(() => performance.mark("ours"));
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const { pid } = traceEvents.find((e) => e.name === "ours");
  const main = traceEvents.find((e) => e.name === "thread_name" && e.args.name === "CrRendererMain" && e.pid === pid);
  const tasks = traceEvents.filter((e) => e.name.endsWith("RunTask") && e.tdur !== undefined && e.pid === pid && e.tid === main.tid);
  return Math.max(...tasks.map((e) => e.tdur / 1000));
}

async function opening(url) {
  const tasks = [];
  for (let i = 0; i < NAVIGATIONS; i++) {
    const page = await openPage(url, startTracing);
    await messages(page, 4);
    tasks.push(await longestTraced(page));
    await page.context().close();
  }
  const page = await openPage(url);
  await messages(page, 4);
  row("longest block of the main thread while it opens", longest(await page.evaluate(() => window.blocks)), "under 50 ms");
  row("its longest task, by processor time, median", ms(median(tasks)), "under 50 ms");
  row("its longest task, by processor time, worst", ms(Math.max(...tasks)), "under 50 ms");
  return page;
}

await firstPrices();
const page = await opening(EDGE + "/");
await frames(page, "1,000", "under 8 ms");
await page.context().close();
const full = await openPage(FULL_EDGE + "/");
await messages(full, MOST / NEW_EACH + 2);
await frames(full, "20,000", "under 8 ms");
await full.context().close();
await heap(await openPage(EDGE + "/"));
const version = browser.version();
await browser.close();
const width = Math.max(...rows.map(([what]) => what.length));
console.log(`Chromium ${version}, 1280 x 900, no GPU, 2 updates a second`);
for (const [what, value, target] of rows) console.log(`${what.padEnd(width)}  ${value.padStart(18)}  ${target}`);
