// Tests of the service worker: what it shows without an edge, and that it hides nothing of a reachable one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EDGE, LIVE, control, open, state, updates } from "./harness.mjs";

const { UNDER } = process.env;

/** What the browser says of requests that fail, as they do without an edge. */
const GONE = [/Failed to load resource: net::ERR_/, /WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/];

/** Opens the page, with the worker in charge of it. @param {import("node:test").TestContext} t @param {string} url @param {RegExp[]} [expected] */
async function openWithWorker(t, url, expected = GONE) {
  const page = await open(t, { url, expected });
  await state(page, LIVE);
  await page.evaluate(async () => {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
  });
  await page.waitForFunction(() => navigator.serviceWorker.controller?.state === "activated");
  await page.waitForFunction(() => localStorage.getItem("sightglass.last"));
  return page;
}

/** Stops the edge until the test ends, or until the returned function is called. @param {import("node:test").TestContext} t */
async function withoutEdge(t) {
  let isStopped = true;
  const start = async () => {
    if (isStopped) await control("/edge/start");
    isStopped = false;
  };
  t.after(start);
  await control("/edge/kill");
  return start;
}

for (const [name, url] of Object.entries({ "at the root": `${EDGE}/`, "under a path": `${UNDER}/` })) {
  test(`${name}: the page loads without the edge, and is current again with it`, async (t) => {
    const page = await openWithWorker(t, url);
    const start = await withoutEdge(t);
    await page.reload();
    await state(page, /^reconnecting/);
    assert.equal(await page.textContent("h1"), "Sightglass");
    await state(page, /: last price \d+:\d\d\s[AP]M, \d+ s ago$/); // it is shown as an old one
    assert.equal(await page.evaluate(() => [...document.styleSheets].every((s) => s.cssRules.length > 0)), true, "a style is not loaded");
    await start();
    await state(page, LIVE);
    await updates(page);
  });
}

test("the card and the clock load without the edge, whatever their query", async (t) => {
  const page = await openWithWorker(t, `${EDGE}/`);
  await withoutEdge(t);
  for (const path of ["clock?theme=dark", "embed?span=1y", "embed"]) {
    await page.goto(`${EDGE}/${path}`);
    await state(page, /^(connecting|reconnecting)/);
  }
});

test("nothing but the pages and their files is stored, and the API fails without the edge", async (t) => {
  const page = await openWithWorker(t, `${EDGE}/`);
  await page.goto(`${EDGE}/embed?theme=dark`);
  await state(page, LIVE);
  const stored = await page.evaluate(async () => {
    const requests = await Promise.all((await caches.keys()).map(async (name) => (await caches.open(name)).keys()));
    return requests.flat().map(({ url }) => url.slice(location.origin.length));
  });
  assert.ok(stored.includes("/static/app.js"), `${stored}`);
  assert.deepEqual(stored.filter((path) => !/^\/(clock|embed|static\/[^?]+)?$/.test(path)), []);
  await withoutEdge(t);
  for (const path of ["api/v1/snapshot", "price", "health", "og.png"]) {
    const answer = await page.evaluate((p) => fetch(p).then((r) => r.status, () => "failed"), path);
    assert.equal(answer, "failed", path);
  }
});

test("an edge's error is shown, not the stored page; a changed page is shown at once", async (t) => {
  const page = await openWithWorker(t, `${EDGE}/`, [/status of 503/]);
  for (const [status, body] of /** @type {const} */ ([[503, "draining"], [200, "a later version"]])) {
    await page.context().route(`${EDGE}/`, (route) => route.fulfill({ status, body, contentType: "text/html" }));
    const answer = await page.reload();
    assert.equal(answer?.status(), status);
    assert.equal(await page.textContent("body"), body);
    await page.context().unroute(`${EDGE}/`);
  }
});
