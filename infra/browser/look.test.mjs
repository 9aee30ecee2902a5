// How the pages look, for people and for tools: pictures to keep, no sideways scrolling, no barrier that axe knows of,
// and who may frame them.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { CONTROL, EDGE, LIVE, dashboard, drawn, open, state } from "./harness.mjs";

const PAGES = { dashboard: "/", card: "/embed", clock: "/clock" };
const THEMES = /** @type {const} */ (["light", "dark"]);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
await mkdir("out", { recursive: true });

for (const width of [320, 1440]) {
  for (const colorScheme of THEMES) {
    test(`${width} px, ${colorScheme}: a picture is kept, and nothing reaches over the side`, async (t) => {
      const page = await dashboard(t, { context: { viewport: { width, height: 900 }, colorScheme } });
      await page.screenshot({ path: `out/dashboard-${width}-${colorScheme}.png`, fullPage: true });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(over <= 0, `it scrolls sideways by ${over} px`);
    });
  }
}

for (const [name, path] of Object.entries(PAGES)) {
  for (const colorScheme of THEMES) {
    test(`${name}, ${colorScheme}: no barrier that axe finds serious`, async (t) => {
      const page = await open(t, { url: EDGE + path, context: { colorScheme } });
      await state(page, LIVE);
      if (name === "dashboard") await drawn(page);
      else await page.screenshot({ path: `out/${name}-${colorScheme}.png` });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, {
        resultTypes: ["violations"],
        preload: false, // it makes inline styles of style sheets that import others, which the page's policy forbids
      }));
      const serious = violations.filter((v) => ["serious", "critical"].includes(v.impact));
      assert.deepEqual(serious.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html.slice(0, 100))}`), []);
    });
  }
}

test("the card may be framed by another site", async (t) => {
  const page = await framedBy(t, EDGE + "/embed", []);
  const card = page.frames()[1];
  await card.waitForFunction(() => /\d/.test(document.getElementById("price").textContent));
  await card.waitForFunction(() => /^live/.test(document.getElementById("state").textContent.trim()));
});

for (const path of ["/", "/clock"]) {
  test(`${path} may not be framed by another site`, async (t) => {
    const page = await framedBy(t, EDGE + path, [/frame-ancestors/, /Framing/i]);
    await page.waitForFunction(() => window.frames.length === 1);
    assert.ok(!page.frames().some((f) => f.url().startsWith(EDGE)), "it is shown in the frame");
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
