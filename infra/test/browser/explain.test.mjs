// Tests of what explains the price and of what a reader can ask for: the payments by amount, alerts, languages, and all
// of it with the keyboard alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EDGE, LIVE, PAGES, THEMES, barriers, dashboard, open, overflow, shoot, state, until, updates } from "./harness.mjs";
import { live, openWith } from "./ownstream.mjs";

/** @typedef {import("playwright-core").Page} Page */

/** The dashboard with the payments by amount. @param {import("node:test").TestContext} t @param {object} [options] */
async function explained(t, options) {
  const page = await dashboard(t, options);
  await page.waitForSelector("#evidence-body:visible");
  return page;
}

/** What the page says of the slider's price. @param {Page} page */
async function said(page) {
  const words = await page.textContent("#evidence-words");
  const [round, all, expected] = words.match(/([\d,]+) of ([\d,]+) payments are round amounts, ([\d,]+) would be/).slice(1).map((n) => Number(n.replaceAll(",", "")));
  return { words, round, all, expected };
}

/** @param {Page} page @param {number} value */
async function shift(page, value) {
  await page.locator("#shift").fill(String(value));
  await page.waitForFunction((v) => document.getElementById("shift").value === v, String(value));
}

test("round amounts stand out at the price, and at no other", async (t) => {
  const page = await explained(t);
  const at = await said(page);
  assert.ok(at.round > 1.2 * at.expected, at.words);
  const there = await page.evaluate(() => document.getElementById("ladder").toDataURL());
  for (const value of [-60, -30, 30, 60]) {
    await shift(page, value);
    const off = await said(page);
    assert.match(off.words, /^\$[\d,]+, [-+]\d\.00%: /);
    assert.ok(off.round / off.expected < at.round / at.expected, `${off.words} ${at.words}`);
    assert.match(off.words, /within 0\.5% of this: (under )?0\.\d%\.$/);
    assert.notEqual(await page.evaluate(() => document.getElementById("ladder").toDataURL()), there, "the picture has not moved");
  }
  await page.click("#shift-reset");
  assert.equal((await said(page)).words, at.words);
  assert.ok(await page.isDisabled("#shift-reset"));
});

test("without evidence the page says so, and shows it when there is some", async (t) => {
  let fails = true;
  const prepare = (page) => page.route("**/api/v1/evidence", (route) => (fails ? route.fulfill({ status: 503, body: "" }) : route.continue()));
  const page = await dashboard(t, { prepare, expected: [/503/] });
  await page.waitForFunction(() => /could not be loaded/.test(document.getElementById("evidence-hint").textContent));
  fails = false;
  await page.waitForSelector("#evidence-body:visible");
  assert.ok(await page.isHidden("#evidence-hint"));
});

test("evidence of another time is hidden until there is newer one", async (t) => {
  const stream = { next: () => ({}) };
  const page = await openWith(t, "/", stream);
  await page.waitForSelector("#evidence-body:visible");
  stream.next = () => ({ timestamp: Date.now() / 1000 + 1000 });
  await page.waitForSelector("#evidence-body", { state: "hidden" });
  assert.ok(await page.isVisible("#evidence-hint"));
});

/** Records notifications instead of showing them. */
function recordNotifications() {
  window.notified = [];
  navigator.serviceWorker.register = () => Promise.reject(new Error("not in this test")); // phones only need it for notifications
  window.Notification = class {
    static permission = "default";
    static requestPermission() {
      window.asked = (window.asked ?? 0) + 1;
      return Promise.resolve(this.permission = window.refuses ? "denied" : "granted");
    }
    constructor(title, options) {
      window.notified.push({ title, ...options });
    }
  };
}

/**
 * @param {import("node:test").TestContext} t @param {{next: (seq: number) => object}} stream
 * @param {(page: Page) => Promise<void>} [route]
 */
async function withAlerts(t, stream, route) {
  const page = await openWith(t, "/", stream, {}, recordNotifications, route);
  await state(page, LIVE);
  await page.waitForFunction(() => performance.getEntriesByType("resource").some((e) => /alerts\.js/.test(e.name)));
  return page;
}

const priced = (/** @type {number} */ price, rest = {}) => ({ price, low: price * 0.99, high: price * 1.01, confidence: 0.95, status: "live", ...rest });

/** Sends a price from now on, and waits until the page has it. @param {Page} page @param {{next: (seq: number) => object}} stream */
async function send(page, stream, /** @type {number} */ price, rest = {}) {
  let sent = 0;
  stream.next = () => {
    sent++;
    return priced(price, rest);
  };
  await until(async () => sent > 2, "snapshots of another price");
  const shown = /** @type {string} */ (price.toLocaleString("en-US"));
  await page.waitForFunction((text) => document.getElementById("price").textContent.includes(text), shown);
}

test("an alert is notified once when the price crosses it, and stays in this browser", async (t) => {
  const stream = { next: () => priced(5000) };
  const page = await withAlerts(t, stream);
  await send(page, stream, 5000);
  assert.equal(await page.evaluate(() => window.asked), undefined, "asked for notifications without being used");
  await page.fill("#alert-price", "$5,100");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#alert-list li");
  assert.equal(await page.textContent("#alert-list li"), "$5,100: when it rises above $5,100 ×");
  assert.equal(await page.evaluate(() => window.asked), 1);

  for (const wrong of [{ status: "contested" }, { confidence: 0.4 }, { status: "stale" }]) { // no price to rely on
    await send(page, stream, 5200, wrong);
    assert.deepEqual(await page.evaluate(() => window.notified), [], JSON.stringify(wrong));
  }
  stream.next = () => priced(5200);
  await page.waitForFunction(() => window.notified.length > 0);
  await send(page, stream, 5000);
  await send(page, stream, 5200);
  const notified = await page.evaluate(() => window.notified);
  assert.equal(notified.length, 1);
  assert.equal(notified[0].title, "Bitcoin is at $5,200");
  assert.match(notified[0].body, /^rose above \$5,100, \w{3} \d+, \d{4}/);
  assert.match(await page.textContent("#alert-message"), /^rose above \$5,100/);

  await page.reload();
  await page.waitForFunction(() => /rose above/.test(document.getElementById("alert-list").textContent));
  await page.click("#alert-list button");
  assert.equal(await page.locator("#alert-list li").count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), "alert-price");
  assert.equal(await page.evaluate(() => localStorage.getItem("sightglass.alerts")), "[]");
});

test("a replay's price crosses no alert and is not kept, and no price is before it is known whether it is one", async (t) => {
  const stream = { next: () => priced(5000) };
  let about = "fails";
  const page = await withAlerts(t, stream, async (page) => {
    await page.addInitScript(() => localStorage.setItem("sightglass.alerts", JSON.stringify([{ price: 4900, above: false }])));
    await page.route("**/api/v1/about", (route) => (about === "fails" ? route.fulfill({ status: 204 }) : route.fulfill({ json: { notice: "", replay: about === "replay" } })));
  });
  const kept = () => page.evaluate(() => [/rose above/.test(document.getElementById("alert-list").textContent), localStorage.getItem("sightglass.last")]);
  await send(page, stream, 5000);
  assert.deepEqual(await kept(), [false, null]);
  about = "replay";
  await page.waitForFunction(() => document.getElementById("source").textContent === "a replay");
  await send(page, stream, 5001);
  assert.deepEqual(await kept(), [false, null]);
  await page.fill("#alert-price", "4,900");
  await page.click("#alert-form button");
  await page.waitForFunction(() => /^This is a replay/.test(document.getElementById("alert-message").textContent));
  about = "today";
  await page.reload();
  await page.waitForFunction(() => /rose above/.test(document.getElementById("alert-list").textContent) && localStorage.getItem("sightglass.last"));
});

test("an alert without notifications is shown on the page, and what is no price is named", async (t) => {
  const stream = { next: () => priced(5000) };
  const page = await withAlerts(t, stream);
  await send(page, stream, 5000);
  await page.evaluate(() => { window.refuses = true; });
  await page.fill("#alert-price", "abc");
  await page.click("#alert-form button");
  await page.waitForFunction(() => document.getElementById("alert-message").textContent === "abc is not a price: type dollars, such as $5,000.");
  assert.equal(await page.getAttribute("#alert-price", "aria-invalid"), "true");
  await page.fill("#alert-price", "4,900");
  await page.click("#alert-form button");
  await page.waitForFunction(() => /does not allow notifications/.test(document.getElementById("alert-message").textContent));
  stream.next = () => priced(4800);
  await page.waitForFunction(() => /^fell below \$4,900/.test(document.getElementById("alert-message").textContent));
  assert.deepEqual(await barriers(page), []);
});

const WORDS = { de: "Ein Bitcoin", es: "Un bitcoin", ja: "1ビットコイン", pt: "Um bitcoin" };

for (const [language, words] of Object.entries(WORDS)) {
  test(`${language}: the browser's language is used, nothing is wider than a phone, and no text stays English`, async (t) => {
    const page = await open(t, { context: { locale: language === "pt" ? "pt-BR" : language, viewport: { width: 360, height: 800 } } });
    await page.waitForSelector("#evidence-body:visible");
    await page.waitForFunction((lang) => document.documentElement.lang === lang, language);
    assert.ok((await page.textContent("#price-title")).startsWith(words), await page.textContent("#price-title"));
    await updates(page);
    const same = await page.evaluate(async () => {
      const { default: english } = await import(new URL("static/texts/en.js", location.href).href);
      const texts = new Set(Object.values(english).filter((text) => typeof text === "string" && text.length > 12));
      return [...document.querySelectorAll("body *")].filter((e) => e.children.length === 0 && texts.has(e.textContent.replace(/\s+/g, " ").trim())).map((e) => e.outerHTML);
    });
    assert.deepEqual(same, []);
    await shoot(page, `language-${language}`, { fullPage: true });
    assert.ok(await overflow(page) <= 0, `the page overflows by ${await overflow(page)} px`);
    assert.deepEqual(await barriers(page), []);
  });
}

test("the language is chosen on the page, kept, and changed back", async (t) => {
  const page = await dashboard(t);
  await page.selectOption("#language", "de");
  await page.waitForFunction(() => document.documentElement.lang === "de");
  await page.waitForFunction(() => /\d\s?\$$/.test(document.getElementById("interval").textContent)); // 5.300 $
  await page.reload();
  await page.waitForFunction(() => document.documentElement.lang === "de");
  await page.selectOption("#language", "en");
  await page.waitForFunction(() => document.getElementById("price-title").textContent === "One bitcoin, in US dollars");
  await page.waitForFunction(() => /^\$/.test(document.getElementById("interval").textContent));
});

for (const name of /** @type {const} */ (["card", "clock"])) {
  test(`${name}: the address chooses the language`, async (t) => {
    const page = await open(t, { url: `${EDGE}${PAGES[name]}?language=ja` });
    await page.waitForFunction(() => document.documentElement.lang === "ja");
    await page.waitForFunction(() => !/live/.test(document.getElementById("state").textContent) && /\d/.test(document.getElementById("price").textContent));
    await shoot(page, `language-${name}`);
  });
}

for (const colorScheme of THEMES) {
  test(`${colorScheme}: a walk with the keyboard alone`, async (t) => {
    const page = await explained(t, { context: { colorScheme, viewport: { width: 1440, height: 900 } } });
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute("value") || document.activeElement.textContent.trim());
    const visible = () => page.evaluate(() => document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none");
    /** @param {string} target @param {string} what */
    const tabTo = async (target, what) => {
      let presses = 0;
      do {
        assert.ok(presses++ < 30, `Tab does not reach ${target}: the focus is on ${await focused()}`);
        await page.keyboard.press("Tab");
      } while ((await focused()) !== target);
      assert.ok(await visible(), `${target} has the focus, which is not seen`);
      t.diagnostic(`Tab x ${presses}: ${what}`);
    };
    const press = async (/** @type {string} */ key, /** @type {string} */ what) => {
      await page.keyboard.press(key);
      t.diagnostic(`${key}: ${what}`);
    };
    await tabTo("theme", "the theme");
    await tabTo("zone", "the time zone");
    await press("u", "UTC is chosen");
    await page.waitForFunction(() => document.getElementById("zone").value === "utc");
    await tabTo("language", "the language");
    await page.keyboard.press("Tab");
    await page.waitForSelector("#confidence-meaning:visible");
    t.diagnostic("Tab x 1: the question mark beside Confidence: its meaning is shown");
    await press("Escape", "the meaning is hidden");
    await page.waitForSelector("#confidence-meaning", { state: "hidden" });
    await tabTo("1d", "the range of a day");
    await press("Enter", "the chart shows a day");
    await page.waitForFunction(() => /^The price over time/.test(document.getElementById("chart").getAttribute("aria-label")));
    await tabTo("chart", "the chart");
    await press("End", "its last entry is read");
    assert.match(await page.textContent("#reading"), /^\$[\d,]+, /);
    const place = () => page.evaluate(() => document.getElementById("mark").style.transform);
    const last = await place();
    await press("Home", "its first entry");
    assert.notEqual(await place(), last);
    await press("0", "the chart is live again");
    await page.waitForFunction(() => document.querySelector('#ranges button[value=""]').getAttribute("aria-pressed") === "true");
    await tabTo("show-table", "the newest payments as a table");
    await press("Enter", "the table is shown");
    await page.waitForSelector("#table:visible");
    await press("Enter", "the table is hidden");
    await tabTo("shift", "the slider: if the price were ...");
    for (let i = 0; i < 20; i++) await page.keyboard.press("ArrowLeft");
    t.diagnostic("ArrowLeft x 20: 2 % lower, and the round amounts are gone");
    const words = await page.getAttribute("#shift", "aria-valuetext");
    assert.match(words, /^\$[\d,]+, -2\.00%, \d+\.\d times as many as by chance$/);
    await tabTo("shift-reset", "back to the price");
    await press("Enter", "the slider is at the price, and has the focus");
    assert.equal(await focused(), "shift");
    await tabTo("alert-price", "an alert");
    await page.keyboard.type(String(Math.round(live.price * 2)));
    await press("Enter", "after typing a price: the alert is set");
    await page.waitForSelector("#alert-list li");
    await tabTo("×", "its button to remove it");
    await press("Enter", "the alert is gone, and the focus is on the field");
    assert.equal(await focused(), "alert-price");
    await tabTo("snapshot", "the links at the end");
  });
}
