// Tests of what the pages show for each status. The stream is the test's own; everything else is a real edge's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LIVE, PAGES, STRONGER, THEMES, barriers, drawn, overflow, picture, priced, shoot, state } from "./harness.mjs";
import { live, openWith } from "./ownstream.mjs";

const CONTESTED = /^contested: round amounts are being paid at a second price$/;
const NO_PRICE = { price: 0, low: 0, high: 0, confidence: 0.2, status: "warming", transactions: [] };

const contested = { status: "contested", confidence: 0.55, low: live.price * 0.97, high: live.price * 1.08 };

/** Texts that only look like a price, anywhere on the page. @param {import("playwright-core").Page} page */
const zeros = (page) => page.evaluate(() => [document.title, document.documentElement.outerHTML].join("\n").match(/.{0,40}\$0(?![\d,]).{0,20}/g) ?? []);

for (const [name, path] of Object.entries(PAGES)) {
  for (const colorScheme of THEMES) {
    test(`${name}, ${colorScheme}: contested is said in words beside the price`, async (t) => {
      const page = await openWith(t, path, { next: () => contested }, { colorScheme, viewport: { width: 320, height: 640 } });
      await state(page, CONTESTED);
      await priced(page);
      assert.match(await page.textContent("#advice"), /^The price shown is .* Trust it less until this ends\.$/);
      if (name !== "card") assert.ok(await page.isVisible("#advice"));
      await shoot(page, `contested-${name}-${colorScheme}`, { fullPage: true });
      assert.deepEqual(await barriers(page), []);
      assert.ok(await overflow(page) <= 0, `the page overflows by ${await overflow(page)} px`);
    });
  }

  test(`${name}: a status of a later version is shown as live`, async (t) => {
    const page = await openWith(t, path, { next: () => ({ status: "half_open" }) });
    await state(page, LIVE);
    await priced(page);
    assert.equal(await page.textContent("#advice"), "");
    assert.equal(await page.evaluate(() => window.seen.states.filter((s) => !/^(live|connecting)/.test(s)).length), 0);
  });

  test(`${name}: without a price it counts payments and forecasts, and shows no amount`, async (t) => {
    const stream = { next: (/** @type {number} */ seq) => ({ ...NO_PRICE, stats: { ...live.stats, active_in_window: Math.min(120, seq) } }) };
    const page = await openWith(t, path, stream);
    await state(page, /^warming up: \d+ of about 500 payments seen$/);
    const start = Date.now() / 1000;
    // Time passes 25 times as fast: a payment every 5 s, so 400 more take about half an hour.
    stream.next = (seq) => ({ ...NO_PRICE, timestamp: start + 5 * seq, stats: { ...live.stats, active_in_window: 60 + seq } });
    await state(page, /^warming up: \d+ of about 500 payments seen; about \d+ minutes at this pace$/);
    assert.equal(await page.textContent("#price"), "–");
    assert.deepEqual(await zeros(page), []);
    assert.doesNotMatch(await page.title(), /\d/);
    await shoot(page, `no-price-${name}`, { fullPage: true });
    assert.deepEqual(await barriers(page), []);
  });
}

const PEERS = "of Bitcoin's network, not validated here";

/** What the pages say of each source. */
const SOURCES = /** @type {const} */ ([
  [{}, "a node", "its own mempool", "Computed from a Bitcoin node's own mempool, without data from exchanges."],
  [{ peers: 8, peers_wanted: 8 }, "8 peers", PEERS,
    "Computed from what 8 peers of Bitcoin's network relay, without data from exchanges."],
  [{ peers: 3, peers_wanted: 8 }, "3 of 8 peers", PEERS,
    "Computed from what 3 of 8 peers of Bitcoin's network relay, without data from exchanges."],
]);

for (const colorScheme of THEMES) {
  test(`dashboard, ${colorScheme}: it says whether the source is a node or peers, and how many`, async (t) => {
    const stream = { next: () => ({}) };
    const page = await openWith(t, "/", stream, { colorScheme, viewport: { width: 320, height: 640 } });
    await state(page, LIVE);
    for (const [peers, source, note, basis] of SOURCES) {
      stream.next = () => ({ stats: { ...live.stats, ...peers } });
      await page.waitForFunction((want) => document.getElementById("source").textContent === want, source);
      assert.equal(await page.textContent("#source-note"), note);
      assert.equal(await page.textContent("#basis"), basis);
      const entry = page.locator(".stats > div:has(#source) > *");
      assert.deepEqual(await entry.evaluateAll((all) => all.map((e) => e.localName)), ["dt", "dd", "dd"]);
      assert.deepEqual(await barriers(page), []);
      assert.ok(await overflow(page) <= 0, `the page overflows by ${await overflow(page)} px`);
    }
    await shoot(page, `peers-dashboard-${colorScheme}`, { fullPage: true });
  });
}

for (const name of /** @type {const} */ (["card", "clock"])) {
  for (const colorScheme of THEMES) {
    test(`${name}, ${colorScheme}: it says whether the source is a node or peers`, async (t) => {
      const stream = { next: () => ({}) };
      const viewport = name === "card" ? { width: 320, height: 160 } : { width: 320, height: 640 };
      const page = await openWith(t, PAGES[name], stream, { colorScheme, viewport });
      await state(page, LIVE);
      for (const [peers, source] of SOURCES) {
        stream.next = () => ({ stats: { ...live.stats, ...peers } });
        await page.waitForFunction((want) => document.getElementById("source").textContent === want, `from ${source}`);
        const box = await page.locator("#source").boundingBox();
        assert.ok(box.x >= 0 && box.x + box.width <= viewport.width && box.y + box.height <= viewport.height,
          `the source is at ${JSON.stringify(box)}`);
        assert.deepEqual(await barriers(page), []);
      }
      await shoot(page, `peers-${name}-${colorScheme}`);
    });
  }
}

for (const [name, path] of Object.entries(PAGES)) {
  test(`${name}: while it is warming up with too few peers, it says how many are connected`, async (t) => {
    const stats = { ...live.stats, active_in_window: 120, peers: 3, peers_wanted: 8 };
    const viewport = name === "card" ? { width: 320, height: 160 } : { width: 568, height: 320 };
    const page = await openWith(t, path, { next: () => ({ ...NO_PRICE, stats }) }, { viewport });
    await state(page, /^warming up: 120 of about 500 payments seen; 3 of 8 peers connected$/);
    await shoot(page, `few-peers-${name}`);
    assert.deepEqual(await barriers(page), []);
    stats.peers = 8;
    await state(page, /^warming up: 120 of about 500 payments seen$/);
  });
}

for (const [name, context] of Object.entries(STRONGER)) {
  test(`${name}: contested in at least 7:1, and axe finds no serious violation`, async (t) => {
    const page = await openWith(t, "/", { next: () => contested }, context);
    await state(page, CONTESTED);
    await drawn(page);
    await shoot(page, `contested-${name.replaceAll(/\W+/g, "-")}`, { fullPage: true });
    assert.deepEqual(await barriers(page, ["color-contrast-enhanced"]), []);
  });
}

test("contested is in the title and announced once, and ends", async (t) => {
  const stream = { next: () => contested };
  const page = await openWith(t, "/", stream);
  await state(page, CONTESTED);
  await page.waitForFunction(() => /contested/.test(document.title));
  const said = await page.textContent("#announcer");
  assert.match(said, /^One bitcoin: \$[\d,]+, confidence fair\. Connection: contested: .* Trust it less until this ends\.$/);
  stream.next = () => ({ status: "live" });
  await state(page, LIVE);
  await page.waitForSelector("#advice", { state: "hidden" });
  assert.doesNotMatch(await page.title(), /contested/);
  assert.equal(await page.textContent("#announcer"), said, "another announcement within 30 s");
});

test("an interval that spans both prices is drawn", async (t) => {
  for (const [low, high] of [[0.5, 2.2], [0.1, 10]]) {
    const page = await openWith(t, "/", { next: () => ({ ...contested, low: live.price * low, high: live.price * high }) });
    await state(page, CONTESTED);
    await drawn(page);
    assert.deepEqual(await zeros(page), []);
  }
});

test("a price that is lost and found again", async (t) => {
  const stream = { next: () => ({}) };
  const page = await openWith(t, "/", stream);
  await state(page, LIVE);
  await drawn(page);
  const label = () => page.getAttribute("#chart", "aria-label");
  await page.waitForFunction(() => /around the estimate/.test(document.getElementById("chart").ariaLabel));

  stream.next = () => ({ ...NO_PRICE, stats: { ...live.stats, active_in_window: 120 } });
  await page.waitForFunction(() => document.getElementById("hint").textContent === "There is no price yet: 120 of about 500 payments seen.");
  assert.ok(await page.isVisible("#hint"));
  await page.waitForFunction(() => document.getElementById("price").textContent === "–");
  await page.waitForFunction(() => document.getElementById("chart").ariaLabel === "No payments yet");
  await page.click("#show-table");
  await page.setViewportSize({ width: 900, height: 700 }); // clears the canvas
  await page.selectOption("#theme", "dark"); // redraws everything
  assert.deepEqual(await zeros(page), []);
  const download = page.waitForEvent("download", { timeout: 500 }).then(() => true, () => false);
  await page.click("#export");
  await page.waitForFunction(() => document.getElementById("message").textContent === "There is no price to save yet.");
  assert.equal(await download, false);

  stream.next = () => ({});
  await state(page, LIVE);
  await page.waitForSelector("#hint", { state: "hidden" });
  await page.waitForFunction(() => /around the estimate/.test(document.getElementById("chart").ariaLabel));
  assert.match(await label(), /\$\d/);
  assert.notEqual(await picture(page), 0);
});

for (const [width, height] of [[160, 90], [320, 160]]) {
  test(`the card in ${width} x ${height} px keeps the price and says contested`, async (t) => {
    const page = await openWith(t, "/embed", { next: () => contested }, { viewport: { width, height } });
    await state(page, CONTESTED);
    await shoot(page, `contested-card-${width}`);
    for (const id of ["price", "state"]) {
      const box = await page.locator(`#${id}`).boundingBox();
      assert.ok(box.y >= 0 && box.y + box.height <= height && box.x < width / 2, `${id} is at ${JSON.stringify(box)}`);
    }
    const link = await page.getByRole("link", { name: "Sightglass" }).boundingBox();
    assert.ok(link.x + link.width <= width, `the link is at ${JSON.stringify(link)}`);
    const [price, words] = [await page.locator("#price").boundingBox(), await page.locator("#state").boundingBox()];
    assert.ok(price.y + price.height <= words.y + 1, `the state covers the price: ${JSON.stringify([price, words])}`);
  });
}
