// Tests of the chart's ranges, from the payments of minutes to a history of ten years.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DAY, YEAR } from "./decade.mjs";
import { EDGE, LIVE, STRONGER, THEMES, addDecade, barriers, chart, chooseRange, dashboard, drawn, overflow, shoot, shown, state, updates } from "./harness.mjs";

const LONG = ["1d", "1w", "1m", "1y", "all"];
const MAX_BYTES = 100_000; // that a range may transfer

/**
 * Opens the dashboard, and notes its requests for history.
 * @param {import("node:test").TestContext} t
 * @param {{hash?: string, context?: object, expected?: RegExp[]}} [options]
 */
async function withHistory(t, { hash = "", context, expected } = {}) {
  const seen = { /** @type {import("playwright-core").Request[]} */ requests: [], fails: false };
  const prepare = async (page) => {
    page.on("request", (r) => r.url().includes("/api/v1/history") && seen.requests.push(r));
    await page.route("**/api/v1/history*", (route) => (seen.fails ? route.fulfill({ status: 503, body: "" }) : route.continue()));
  };
  const page = await dashboard(t, { url: `${EDGE}/${hash}`, context, expected, prepare });
  return { page, seen, choose: (name) => chooseRange(page, name) };
}

const queryOf = (/** @type {import("playwright-core").Request} */ request) => new URL(request.url()).search;

const pressed = (page) => page.locator('#ranges [aria-pressed="true"]').evaluateAll((all) => all.map((b) => b.value));
const hash = (page) => new URL(page.url()).hash;

test("a young history is shown as far as it goes, and the page says so", async (t) => {
  const { page } = await withHistory(t);
  for (const name of ["1d", "1y", "all"]) {
    await page.click(`#ranges button[value="${name}"]`);
    await page.waitForFunction(() => /^The history begins (\d+ s|\d+ min \d+ s) ago\.$/.test(document.getElementById("range").textContent));
  }
});

test("a history of ten years is added", addDecade);

test("a fresh page is live, with the payments", async (t) => {
  const { page } = await withHistory(t);
  assert.deepEqual([await pressed(page), hash(page)], [[""], ""]);
  assert.equal(await page.textContent("#chart-title"), "The payments behind it");
  assert.ok(await page.isVisible("#of-points"));
});

for (const name of ["3h", ...LONG]) {
  test(`${name}: the address has it, a reload shows it, and it transfers less than 100 kB`, async (t) => {
    const { page, seen, choose } = await withHistory(t);
    const before = seen.requests.length;
    await choose(name);
    assert.deepEqual([await pressed(page), hash(page)], [[name], `#range=${name}`]);
    assert.ok(await page.isVisible("#of-line"));
    const loaded = seen.requests.slice(before).filter((r) => /from=.*step=/.test(r.url())); // not those of the last day
    const sizes = await Promise.all(loaded.map((r) => r.sizes()));
    const bytes = sizes.reduce((sum, s) => sum + s.responseBodySize + s.responseHeadersSize, 0);
    t.diagnostic(`${bytes} bytes: ${loaded.map(queryOf).join(" ")}`);
    assert.ok(bytes < MAX_BYTES, `${bytes} bytes`);
    assert.equal(loaded.length, ["3h", "1d"].includes(name) ? 0 : 1, "requests");
    const label = await page.getAttribute("#chart", "aria-label");
    await page.reload();
    await state(page, LIVE);
    await shown(page, name);
    assert.equal((await page.getAttribute("#chart", "aria-label")).split(":")[0], label.split(":")[0], "another range after the reload");
  });
}

test("a range that was shown before is not loaded again", async (t) => {
  const { seen, choose } = await withHistory(t);
  for (const name of LONG) await choose(name);
  const before = seen.requests.length;
  for (const name of LONG) await choose(name);
  assert.equal(seen.requests.length, before);
});

test("going back leads through the ranges to live", async (t) => {
  const { page, choose } = await withHistory(t);
  await choose("1w");
  await choose("1y");
  for (const name of ["1w", ""]) {
    await page.goBack();
    await shown(page, name);
  }
  await page.goForward();
  await shown(page, "1w");
});

test("dragging a long range loads older data, and the address has the range", async (t) => {
  const { page, seen, choose } = await withHistory(t);
  await choose("1m");
  const before = seen.requests.length;
  const box = await (await chart(page)).boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.5);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.5, { steps: 8 });
  await page.mouse.up();
  await page.waitForFunction(() => /from=.*&to=/.test(location.hash));
  await page.waitForFunction(() => !/Loading/.test(document.getElementById("range").textContent));
  await updates(page, 2);
  assert.equal(seen.requests.length, before + 1, `for one drag: ${seen.requests.slice(before).map(queryOf)}`);
  assert.deepEqual(await pressed(page), []);
  const words = await page.textContent("#range");
  assert.match(words, /\w{3} \d+.* – .*\d{4}/);
  await page.reload();
  await state(page, LIVE);
  await drawn(page);
  await page.waitForFunction((before) => document.getElementById("range").textContent === before, words);
  await page.goBack();
  await shown(page, "1m");
});

test("a link to a time years ago shows it", async (t) => {
  const year = new Date().getUTCFullYear() - 6;
  const from = Date.UTC(year, 3) / 1000;
  const { page } = await withHistory(t, { hash: `#from=${from}&to=${from + 90 * DAY}` });
  await page.waitForFunction(() => /^The price over time.*from \$/.test(document.getElementById("chart").getAttribute("aria-label")));
  await page.focus("#chart");
  for (const key of ["Home", "End"]) {
    await page.keyboard.press(key);
    assert.equal(Number((await page.textContent("#reading")).match(/, (\d{4})/)[1]), year);
  }
});

/** The places of three entries of the line by price: at its beginning, middle and end. */
async function places(page) {
  const box = await page.locator("#chart").boundingBox();
  const found = [];
  for (const share of [0.02, 0.45, 0.8]) {
    await page.mouse.move(box.x + box.width * share, box.y + box.height / 2);
    await page.waitForSelector("#mark:visible");
    const mark = await page.locator("#mark").boundingBox();
    found.push({ y: mark.y, price: Number((await page.textContent("#tooltip strong")).replace(/[^\d.]/g, "")) });
  }
  return found;
}

/** How far the middle place is on the way from the first to the last, on the page and by a measure of prices. */
const ways = ([a, b, c], measure) => [(b.y - a.y) / (c.y - a.y), (measure(b.price) - measure(a.price)) / (measure(c.price) - measure(a.price))];

for (const [name, isLog] of [["1y", false], ["all", true]]) {
  test(`${name}: the price axis is ${isLog ? "logarithmic" : "linear"}`, async (t) => {
    const { page, choose } = await withHistory(t);
    await choose(name);
    assert.equal(await page.isVisible("#of-log"), isLog);
    const found = await places(page);
    const near = (measure) => { const [page, price] = ways(found, measure); return Math.abs(page - price) < 0.03; };
    t.diagnostic(JSON.stringify(found));
    assert.equal(near(Math.log), isLog, "logarithmic");
    assert.equal(near(Number), !isLog, "linear");
  });
}

/** The columns of the chart that have pixels of the line, and the longest run between them that have none, as a share. */
const widestGap = (page) => page.evaluate(() => {
  const canvas = document.querySelector("#chart canvas");
  const { width, height } = canvas;
  const c = canvas.getContext("2d");
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  probe.fillRect(0, 0, 1, 1);
  const [accent] = new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer);
  const data = new Uint32Array(c.getImageData(0, 0, width, height).data.buffer);
  const columns = Array.from({ length: width }, (_, x) => x).filter((x) => {
    for (let y = 0; y < height; y++) if (data[y * width + x] === accent) return true;
    return false;
  });
  const gap = Math.max(...columns.slice(1).map((x, i) => x - columns[i]));
  return gap / (columns.at(-1) - columns[0]);
});

test("a gap in the history is one in the line", async (t) => {
  const { page, choose } = await withHistory(t);
  for (const [name, share] of [["1w", 0.5 / 7], ["1m", 0.5 / 30], ["all", 0.3 / 10]]) {
    await choose(name);
    const gap = await widestGap(page);
    assert.ok(gap > 0.7 * share && gap < 1.2 * share, `${name}: ${gap}, want about ${share}`);
  }
  await choose("1y");
  assert.ok((await widestGap(page)) < 0.01, "a gap where there is none");
});

test("a request that fails is said, and the line of the last day stays", async (t) => {
  const { page, seen } = await withHistory(t, { expected: [/503/] });
  seen.fails = true;
  await page.click('#ranges button[value="1m"]');
  await page.waitForFunction(() => /could not be loaded/.test(document.getElementById("range").textContent));
  await updates(page, 2);
  assert.match(await page.getAttribute("#chart", "aria-label"), /^The price over time.*from \$/);
});

test("pausing holds a range, and continuing returns to it", async (t) => {
  const { page, choose } = await withHistory(t);
  await choose("1w");
  await page.click("#pause");
  assert.match(await page.textContent("#range"), /paused/);
  await page.click("#pause");
  await shown(page, "1w");
});

test("the keyboard alone chooses a range and reads its line", async (t) => {
  const { page } = await withHistory(t);
  await page.focus("#theme");
  const focused = () => page.evaluate(() => /** @type {HTMLButtonElement} */ (document.activeElement).value);
  for (let i = 0; (await focused()) !== "1y"; i++) {
    assert.ok(i < 30, "Tab does not reach 1 y");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await shown(page, "1y");
  assert.equal(await focused(), "1y", "the focus was lost");
  for (let i = 0; (await page.evaluate(() => document.activeElement.id)) !== "chart"; i++) {
    assert.ok(i < 30, "Tab does not reach the chart");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Home");
  const first = await page.textContent("#reading");
  assert.match(first, /^\$[\d,]+, \$[\d,]+ – \$[\d,]+, \w{3} \d+, \d{4}/);
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await page.textContent("#reading"), first);
  await page.keyboard.press("0");
  await shown(page, "");
});

for (const colorScheme of THEMES) {
  test(`320 px, ${colorScheme}: every range fits, and axe finds no serious violation`, async (t) => {
    const { page, choose } = await withHistory(t, { context: { viewport: { width: 320, height: 900 }, colorScheme } });
    for (const name of ["3h", ...LONG]) {
      await choose(name);
      assert.ok(await overflow(page) <= 0, `${name}: the page overflows by ${await overflow(page)} px`);
    }
    assert.deepEqual(await barriers(page), []);
  });
}

for (const [name, context] of Object.entries(STRONGER)) {
  test(`${name}: axe finds no serious violation in a long range`, async (t) => {
    const { page, choose } = await withHistory(t, { context });
    await choose("all");
    await shoot(page, `range-all-${name.replaceAll(/\W+/g, "-")}`, { fullPage: true });
    assert.deepEqual(await barriers(page, ["color-contrast-enhanced"]), []);
  });
}
