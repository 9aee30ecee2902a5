// Pictures of the dashboard in each state, in both themes, for a desktop and a phone: out/view-*.png. In each, axe finds no
// serious violation, and nothing is wider than the window.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LIVE, THEMES, addDecade, barriers, chooseRange, dashboard, drawn, overflow, priced, shoot, state, updates } from "./harness.mjs";
import { live, openWith } from "./ownstream.mjs";

const HOUR = 3600;
const BEGIN = Date.now() / 1000;
const HUGE = 48; // CSS pixels: only a price that is fit to be shown as a fact is larger

/** The points of the edge, spread over an hour that ends now. */
function hourOfPoints() {
  const now = Date.now() / 1000;
  const { transactions: points } = live;
  return points.map(({ price }, i) => ({ price, timestamp: Math.round(1000 * (now - HOUR * (1 - (i + 1) / points.length))) / 1000 }));
}

const NONE = { price: 0, low: 0, high: 0, confidence: 0, status: "warming", transactions: [] };

/** The first payments, one a second, and five seconds in one; until is their number, which then stays. @param {number} until */
const firstPayments = (until) => (/** @type {number} */ seq) => {
  const seen = Math.min(until, until - 25 + seq);
  return { ...NONE, timestamp: BEGIN + seq, stats: { ...live.stats, total_received: 2 * seen, active_in_window: seen, uptime_seconds: 57 } };
};

/** A price that may be wrong, with the interval of a cold start. */
const unsure = { status: "live", confidence: 0.42, low: live.price * 0.5, high: live.price * 2, transactions: live.transactions.slice(-200) };

/** @typedef {import("playwright-core").Page} Page @typedef {import("node:test").TestContext} TestContext */

/** Each view: opens the page in a context and waits until it is seen. @type {Record<string, (t: TestContext, context: object) => Promise<Page>>} */
const VIEWS = {
  "first-minute": async (t, context) => {
    const page = await openWith(t, "/", { next: firstPayments(342) }, context);
    await state(page, /^warming up: 342 of about 500 payments seen; about 3 minutes at this pace$/);
    assert.equal(await page.textContent("#price"), "–");
    assert.ok(await page.isVisible("#progress"));
    return page;
  },
  "unsure": async (t, context) => {
    const page = await openWith(t, "/", { next: () => unsure }, context);
    await state(page, LIVE);
    await drawn(page);
    const size = await page.evaluate(() => parseFloat(getComputedStyle(document.getElementById("price")).fontSize));
    assert.ok(size < HUGE, `a price that may be wrong is ${size} px high`);
    assert.match(await page.textContent("#price"), /^≈ /);
    assert.match(await page.textContent("#advice"), /Not reliable yet/);
    return page;
  },
  "hour": async (t, context) => {
    const points = hourOfPoints();
    const page = await openWith(t, "/", { next: () => ({ transactions: points }) }, context);
    await state(page, LIVE);
    await drawn(page);
    await page.waitForSelector("#evidence-body:visible");
    return page;
  },
  "day": (t, context) => range(t, context, "1d"),
  "year": (t, context) => range(t, context, "1y"),
  "contested": async (t, context) => {
    const contested = { status: "contested", confidence: 0.55, low: live.price * 0.97, high: live.price * 1.08 };
    const page = await openWith(t, "/", { next: () => contested }, context);
    await state(page, /^contested/);
    await drawn(page);
    return page;
  },
  "stale": async (t, context) => {
    const page = await openWith(t, "/", { next: () => ({ status: "stale", timestamp: Date.now() / 1000 - 180 }) }, context);
    await state(page, /^stale: last price .*, 3 min \d+ s ago$/);
    await drawn(page);
    return page;
  },
  "offline": async (t, context) => {
    const page = await dashboard(t, { context, expected: [/ERR_INTERNET_DISCONNECTED/] });
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.waitForFunction(() => localStorage.getItem("sightglass.last"));
    await page.waitForFunction(async () => Boolean(await caches.match("static/app.js")));
    await page.reload(); // so that everything it loads is in the cache
    await state(page, LIVE);
    await updates(page);
    await page.context().setOffline(true);
    await page.reload();
    await state(page, /^no network: last price .* ago$/);
    await priced(page);
    assert.match(await page.textContent("#price"), /^\$\d/);
    await page.waitForFunction(() => /This device has no network/.test(document.getElementById("hint").textContent));
    return page;
  },
};

/** @param {TestContext} t @param {object} context @param {string} name */
async function range(t, context, name) {
  const page = await dashboard(t, { context });
  await chooseRange(page, name);
  return page;
}

test("a history of ten years is there", addDecade);

for (const [name, show] of Object.entries(VIEWS)) {
  for (const width of [360, 1440]) {
    for (const colorScheme of THEMES) {
      test(`${name}, ${width} px, ${colorScheme}`, async (t) => {
        const page = await show(t, { viewport: { width, height: 900 }, colorScheme });
        await shoot(page, `view-${name}-${width}-${colorScheme}`, { fullPage: true });
        assert.ok(await overflow(page) <= 0, `the page overflows by ${await overflow(page)} px`);
        assert.deepEqual(await barriers(page), []);
      });
    }
  }
}
