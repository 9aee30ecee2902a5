// @ts-check
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { createContext, runInContext } from "node:vm";

const source = await readFile(new URL("../../../edge/web/sw.js", import.meta.url), "utf8");

const SCOPE = "https://example.org/price/";
const FILES = ["", "clock", "embed", "static/app.js"];

/**
 * A service worker, with the parts of a browser that it uses. The edge answers with its version, until it fails.
 * @param {{version?: string, stores?: Map<string, Map<string, string>>}} [options]
 */
function start({ version = "1", stores = new Map() } = {}) {
  /** @type {Record<string, (event: any) => void>} */ const handlers = {};
  const edge = { fails: false, version };
  /** @type {string[]} */ const pages = [];
  /** @type {string[]} */ const shown = [];
  const fetch = async (/** @type {{url: string}} */ { url }) => {
    if (edge.fails) throw new TypeError("Failed to fetch");
    return `${edge.version} of ${url}`;
  };
  const caches = {
    open: async (/** @type {string} */ name) => {
      const store = stores.get(name) ?? /** @type {Map<string, string>} */ (new Map());
      return {
        addAll: async (/** @type {{url: string}[]} */ requests) => {
          const answers = await Promise.all(requests.map(async (r) => /** @type {const} */ ([r.url, await fetch(r)])));
          stores.set(name, new Map([...store, ...answers]));
        },
        match: async (/** @type {string} */ url) => store.get(url),
      };
    },
    keys: async () => [...stores.keys()],
    delete: async (/** @type {string} */ name) => stores.delete(name),
  };
  class Request {
    /** @param {string} url */
    constructor(url) { this.url = url; }
  }
  const self = {
    shell: { version, files: FILES },
    registration: { scope: SCOPE },
    clients: {
      claim: async () => {},
      matchAll: async () => pages.map((url) => ({ url, focus: async () => { shown.push(`focus ${url}`); } })),
      openWindow: async (/** @type {string} */ url) => { shown.push(`open ${url}`); },
    },
    skipWaiting: async () => {},
    addEventListener: (/** @type {string} */ name, /** @type {(event: any) => void} */ handler) => { handlers[name] = handler; },
  };
  runInContext(source, createContext({ self, caches, fetch, Request }));
  const life = (/** @type {string} */ name) => {
    /** @type {Promise<void>} */ let done = Promise.resolve();
    handlers[name]({ waitUntil: (/** @type {Promise<void>} */ p) => { done = p; } });
    return done;
  };
  return {
    edge, stores, pages, shown,
    /** A click on a notification. */
    click: async () => {
      /** @type {Promise<void>} */ let done = Promise.resolve();
      handlers.notificationclick({ notification: { close: () => shown.push("close") }, waitUntil: (/** @type {Promise<void>} */ p) => { done = p; } });
      await done;
    },
    install: async () => { await life("install"); await life("activate"); },
    /** The response to a request, or "untouched" if the browser handles it. */
    request: async (/** @type {string} */ path, method = "GET") => {
      /** @type {Promise<string> | string} */ let response = "untouched";
      const url = new URL(path, SCOPE).href;
      handlers.fetch({ request: { url, method }, respondWith: (/** @type {Promise<string>} */ r) => { response = r; } });
      return response;
    },
  };
}

test("the edge's response comes first, whatever is stored", async () => {
  const worker = start();
  await worker.install();
  worker.edge.version = "503";
  for (const file of FILES) assert.equal(await worker.request(file), `503 of ${SCOPE}${file}`);
});

test("without the edge, all pages and files are the stored ones, whatever their query", async () => {
  const worker = start();
  await worker.install();
  worker.edge.fails = true;
  for (const file of FILES) assert.equal(await worker.request(file), `1 of ${SCOPE}${file}`);
  assert.equal(await worker.request("embed?theme=dark&span=1y"), `1 of ${SCOPE}embed`);
  assert.equal(await worker.request("#range=1y"), `1 of ${SCOPE}`);
});

test("without the edge and a stored file, the request fails", async () => {
  const worker = start();
  worker.edge.fails = true;
  await assert.rejects(worker.request(""), /Failed to fetch/);
});

test("only GET of the pages and their files is touched", async () => {
  const worker = start();
  await worker.install();
  for (const path of ["api/v1/history?step=60", "ws/mempool", "health", "og.png", "price", "sw.js", "static/other.js", "clock/", "/", "/static/app.js",
    "https://other.example/price/clock"]) {
    assert.equal(await worker.request(path), "untouched", path);
  }
  assert.equal(await worker.request("clock", "HEAD"), "untouched");
  assert.equal(await worker.request("clock", "POST"), "untouched");
});

test("a new version stores all files again, and deletes the old ones of its scope only", async () => {
  const stores = new Map([["sightglass-9 https://example.org/", new Map()], ["another site's", new Map()]]);
  await start({ version: "1", stores }).install();
  const worker = start({ version: "2", stores });
  await worker.install();
  assert.deepEqual([...stores.keys()].sort(), ["another site's", `sightglass-2 ${SCOPE}`, "sightglass-9 https://example.org/"]);
  worker.edge.fails = true;
  assert.equal(await worker.request("clock"), `2 of ${SCOPE}clock`);
});

test("an installation that fails stores nothing, and keeps the old version", async () => {
  const stores = new Map();
  await start({ version: "1", stores }).install();
  const next = start({ version: "2", stores });
  next.edge.fails = true;
  await assert.rejects(next.install(), /Failed to fetch/);
  assert.deepEqual([...stores.keys()], [`sightglass-1 ${SCOPE}`]);
});

test("a click on a notification leads to the dashboard, which is opened only if it is not there", async () => {
  const worker = start();
  worker.pages.push(`${SCOPE}clock`, "https://example.org/other/");
  await worker.click();
  worker.pages.push(`${SCOPE}?a=b#range=1d`);
  await worker.click();
  assert.deepEqual(worker.shown, ["close", `open ${SCOPE}`, "close", `focus ${SCOPE}?a=b#range=1d`]);
});
