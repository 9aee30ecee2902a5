// Tests of the pages' appearance: no horizontal scrolling, no violation that axe finds, and which sites
// may frame them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTROL, EDGE, LIVE, PAGES, STRONGER, THEMES, barriers, dashboard, drawn, open, pauseNode, priced, shoot, state } from "./harness.mjs";

for (const width of [320, 1440]) {
  for (const colorScheme of THEMES) {
    test(`${width} px, ${colorScheme}: no page overflows`, async (t) => {
      const page = await dashboard(t, { context: { viewport: { width, height: 900 }, colorScheme } });
      const keep = async (what) => {
        await shoot(page, `${what}-${width}-${colorScheme}`, { fullPage: true });
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(over <= 0, `${what}: the page overflows by ${over} px`);
      };
      await keep("dashboard");
      await pauseNode(t);
      await page.reload(); // the page has all amounts after this
      await state(page, LIVE);
      await drawn(page);
      await page.focus("#chart");
      for (const key of ["Home", "End"]) { // points at both ends
        await page.keyboard.press(key);
        await page.waitForFunction(() => /a round \$/.test(document.getElementById("tooltip").innerText));
        const tip = await page.locator("#tooltip").boundingBox();
        assert.ok(tip.x >= 0 && tip.x + tip.width <= width && tip.y >= 0, `${key}: the tooltip is at ${JSON.stringify(tip)}`);
        await keep(`point-${key}`);
      }
      await page.click("#show-table");
      await page.waitForFunction(() => [...document.querySelectorAll("#table tr td:nth-child(2)")].every((cell) => /\d/.test(cell.textContent)));
      await keep("table");
    });
  }
}

for (const [name, path] of Object.entries(PAGES)) {
  for (const colorScheme of THEMES) {
    test(`${name}, ${colorScheme}: axe finds no serious violation`, async (t) => {
      const page = await open(t, { url: EDGE + path, context: { colorScheme } });
      await state(page, LIVE);
      if (name === "dashboard") await drawn(page);
      else await shoot(page, `${name}-${colorScheme}`);
      assert.deepEqual(await barriers(page), []);
    });
  }
}

for (const [name, context] of Object.entries(STRONGER)) {
  test(`${name}: text in at least 7:1, and axe finds no serious violation`, async (t) => {
    const page = await dashboard(t, { context });
    await page.click("#pause");
    await page.focus("#chart");
    await page.keyboard.press("End");
    await page.waitForSelector("#tooltip:visible");
    await shoot(page, `dashboard-${name.replaceAll(/\W+/g, "-")}`, { fullPage: true });
    assert.deepEqual(await barriers(page, ["color-contrast-enhanced"]), []);
  });
}

test("the high-contrast theme equals the system's", async (t) => {
  const page = await dashboard(t, { context: { colorScheme: "dark" } });
  const palette = () => page.evaluate(() => {
    const style = getComputedStyle(document.documentElement);
    return ["paper", "ink", "soft", "grid", "accent", "band", "warn", "warn-paper"].map((name) => style.getPropertyValue(`--${name}`));
  });
  const plain = await palette();
  await page.selectOption("#theme", "contrast");
  const chosen = await palette();
  assert.notDeepEqual(chosen, plain);
  assert.deepEqual(await barriers(page, ["color-contrast-enhanced"]), []);
  await page.selectOption("#theme", "system");
  assert.deepEqual(await palette(), plain);
  await page.emulateMedia({ contrast: "more" });
  assert.deepEqual(await palette(), chosen);
});

for (const [name, path] of Object.entries(PAGES)) {
  test(`${name}: nothing is animated with reduced motion`, async (t) => {
    const page = await open(t, { url: EDGE + path, context: { reducedMotion: "reduce" } });
    await state(page, LIVE);
    const moving = await page.evaluate(() => [...document.querySelectorAll("*")].flatMap((e) => ["", "::before", "::after"].map((part) => {
      const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(e, part || null);
      const still = /^0s(, 0s)*$/.test(transitionDuration) && animationName === "none" && scrollBehavior === "auto";
      return still ? "" : `${e.localName}#${e.id}${part}: ${transitionDuration}, ${animationName}, ${scrollBehavior}`;
    }).filter(Boolean)));
    assert.deepEqual(moving, []);
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  });
}

test("the card may be framed by another site", async (t) => {
  const page = await framedBy(t, EDGE + "/embed", []);
  const card = page.frames()[1];
  await priced(card);
  await card.waitForFunction(() => /^live/.test(document.getElementById("state").textContent.trim()));
});

for (const path of ["/", "/clock"]) {
  test(`${path} may not be framed by another site`, async (t) => {
    const page = await framedBy(t, EDGE + path, [/frame-ancestors/, /Framing/i]);
    await page.waitForFunction(() => window.frames.length === 1);
    assert.ok(!page.frames().some((f) => f.url().startsWith(EDGE)), "the frame shows the page");
  });
}

/** Opens another site's page that frames the URL. @param {import("node:test").TestContext} t @param {string} url @param {RegExp[]} expected */
function framedBy(t, url, expected) {
  const host = new URL(EDGE).host.replaceAll(".", "\\.");
  return open(t, {
    url: `${CONTROL}/frame?url=${encodeURIComponent(url)}`,
    expected: [...expected, new RegExp(`^(request|socket) to \\w+://${host}/`)],
  });
}
