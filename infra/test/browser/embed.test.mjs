// Tests of the card in the sizes of frames, with each span. Stream and history are the test's own; the files are a real edge's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EDGE, LIVE, THEMES, barriers, open, priced, shoot, state } from "./harness.mjs";

const HOUR = 3600;
const DAY = 24 * HOUR;
const SIZES = [[160, 80], [160, 90], [200, 200], [320, 160], [448, 120], [600, 100], [600, 200]];

const live = await (await fetch(`${EDGE}/api/v1/snapshot`)).json();

/**
 * Opens the card with the edge's snapshot, changed, and a history.
 * @param {import("node:test").TestContext} t
 * @param {{query?: string, snapshot?: object, history?: (from: number, step: number, now: number) => number[][], context?: object,
 *   prepare?: (page: import("playwright-core").Page) => Promise<void>}} [options]
 */
async function card(t, { query = "", snapshot = {}, history = wave, context, prepare: also } = {}) {
  const asked = /** @type {URLSearchParams[]} */ ([]);
  const prepare = async (/** @type {import("playwright-core").Page} */ page) => {
    await page.routeWebSocket(/\/ws\/mempool$/, (socket) => {
      let seq = 0;
      const send = () => socket.send(JSON.stringify({
        type: "keyframe", ...live, status: "live", confidence: 0.98, epoch: "9", timestamp: Date.now() / 1000, seq: ++seq, ...snapshot,
      }));
      send();
      const timer = setInterval(send, 200);
      const stop = () => clearInterval(timer);
      socket.onClose(stop);
      t.after(stop);
    });
    await also?.(page);
    await page.route("**/api/v1/history*", (route) => {
      const query = new URL(route.request().url()).searchParams;
      asked.push(query);
      const step = Number(query.get("step"));
      return route.fulfill({ json: { step, points: history(Number(query.get("from")), step, Date.now() / 1000) } });
    });
  };
  const page = await open(t, { url: `${EDGE}/embed${query}`, prepare, context });
  return { page, asked };
}

/** A history without gaps. @param {number} from @param {number} step @param {number} now @param {number} [middle] USD */
function wave(from, step, now, middle = live.price) {
  const points = [];
  for (let at = Math.ceil(from / step) * step; at < now - 1; at += step) {
    const price = middle * (1 + 0.02 * Math.sin((at / step) / 20));
    points.push([at, price, price * 0.99, price * 1.01, 0.9]);
  }
  return points;
}

const drawn = (page) => page.waitForFunction(() => document.getElementById("line").getAttribute("d"));

/** What is not inside of the frame, or over something else, as text. @param {import("playwright-core").Page} page */
function collisions(page) {
  return page.evaluate(() => {
    const all = ["h1", "#price", "#history", ".span", "#notice", "footer p", "footer a"].map((name) => {
      const node = document.querySelector(name);
      const { left, top, right, bottom, width, height } = node.getBoundingClientRect();
      return { name, node, left, top, right, bottom, isShown: width > 0 && height > 0 };
    }).filter((box) => box.isShown);
    const outside = all.filter((b) => b.left < 0 || b.top < 0 || b.right > innerWidth + 0.5 || b.bottom > innerHeight + 0.5);
    const over = all.flatMap((a, i) => all.slice(i + 1).filter((b) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1,
    ).map((b) => `${a.name} and ${b.name}`));
    const price = document.getElementById("price");
    const cut = price.scrollWidth > price.clientWidth ? [`the price is ${price.scrollWidth} px wide in ${price.clientWidth}`] : [];
    return [...outside.map((b) => `${b.name} is outside`), ...over, ...cut];
  });
}

for (const [width, height] of SIZES) {
  for (const colorScheme of THEMES) {
    test(`${width} x ${height}, ${colorScheme}: nothing overflows or overlaps`, async (t) => {
      for (const price of [live.price, 116_754.75, 1_234_567.89]) {
        const snapshot = { price, low: price * 0.99, high: price * 1.01, confidence: price === 116_754.75 ? 0.6 : 0.98 };
        const { page } = await card(t, {
          snapshot, history: (from, step, now) => wave(from, step, now, price), context: { viewport: { width, height }, colorScheme },
        });
        await state(page, LIVE);
        await drawn(page);
        await shoot(page, `card-${width}x${height}-${Math.round(price)}-${colorScheme}`);
        assert.deepEqual(await collisions(page), [], `at ${price}`);
        for (const id of ["price", "state"]) assert.ok(await page.isVisible(`#${id}`), id);
        assert.deepEqual(await barriers(page), []);
      }
    });
  }
}

test("600 x 200: the line is beside the price, and has half of the width", async (t) => {
  const { page } = await card(t, { context: { viewport: { width: 600, height: 200 } } });
  await state(page, LIVE);
  const [price, line] = [await page.locator("#price").boundingBox(), await page.locator("#history").boundingBox()];
  assert.ok(price.x + price.width <= line.x, `the price ends at ${price.x + price.width}, the line begins at ${line.x}`);
  assert.ok(line.width >= 250 && line.height >= 80, `the line has ${line.width} x ${line.height}`);
});

for (const [query, seconds, words] of /** @type {const} */ ([
  ["?span=3h", 3 * HOUR, "3 hours"], ["", DAY, "24 hours"], ["?span=1w", 7 * DAY, "7 days"], ["?span=1m", 30 * DAY, "30 days"],
  ["?theme=dark&span=1y", 365 * DAY, "12 months"], ["?span=2d", DAY, "24 hours"],
])) {
  test(`${query || "no query"}: it loads the last ${words} in at most 300 points, and says so`, async (t) => {
    const { page, asked } = await card(t, { query });
    await state(page, LIVE);
    await page.waitForFunction((want) => document.getElementById("span").textContent === `the last ${want}`, words);
    assert.equal(asked.length, 1);
    const [from, step] = ["from", "step"].map((name) => Number(asked[0].get(name)));
    assert.ok(Math.abs(Date.now() / 1000 - from - seconds) < 600, `from ${from}`);
    assert.ok(seconds / step <= 300, `a step of ${step}`);
  });
}

test("a young history is loaded in finer steps, and the card says how long it is", async (t) => {
  const begin = Date.now() / 1000 - 2 * HOUR;
  const { page, asked } = await card(t, { query: "?span=1y", history: (from, step, now) => wave(Math.max(from, begin), step, now) });
  await state(page, LIVE);
  await page.waitForFunction(() => /^the last (2 h \d+|1 h 59) min$/.test(document.getElementById("span").textContent));
  assert.equal(asked.length, 2);
});

test("a gap of the history is a gap of the line", async (t) => {
  const gapped = (from, step, now) => wave(from, step, now).filter(([at]) => at < now - 12 * HOUR || at > now - 6 * HOUR);
  const { page } = await card(t, { history: gapped });
  await state(page, LIVE);
  await drawn(page);
  const pieces = (await page.getAttribute("#line", "d")).split("M").slice(1);
  assert.equal(pieces.length, 2);
  const ends = pieces.map((piece) => [...piece.matchAll(/(?:^|L)([\d.]+) /g)].map(([, x]) => Number(x)));
  assert.ok(Math.abs(ends[0].at(-1) - 150) < 5 && Math.abs(ends[1][0] - 225) < 5, `the gap is from ${ends[0].at(-1)} to ${ends[1][0]} of 300`);
});

for (const [name, snapshot, about] of /** @type {const} */ ([
  ["a sure price", { confidence: 0.75 }, false],
  ["a price with a low confidence", { confidence: 0.749 }, true],
  ["a contested price", { status: "contested", confidence: 0.55 }, true],
  ["a price that is warming up", { status: "warming", confidence: 0.9 }, true],
])) {
  test(`${name} is ${about ? "" : "not "}marked as approximate`, async (t) => {
    const { page } = await card(t, { snapshot });
    await priced(page);
    assert.match(await page.textContent("#price"), about ? /^≈\s\$\d/ : /^\$\d/);
  });
}

test("the smallest card says that a price is a replay's, until it is stale", async (t) => {
  const snapshot = {};
  const { page } = await card(t, {
    snapshot,
    context: { viewport: { width: 160, height: 80 } },
    prepare: (page) => page.route("**/api/v1/about", (route) => route.fulfill({ json: { notice: "Recorded.", replay: true } })),
  });
  await state(page, /^a replay$/);
  await priced(page);
  assert.ok(await page.isVisible("#state"));
  assert.deepEqual(await barriers(page), []);
  await shoot(page, "card-replay");
  Object.assign(snapshot, { status: "stale", timestamp: Date.now() / 1000 - 60 });
  await state(page, /^stale/);
});
