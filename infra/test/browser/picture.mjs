// Takes the README's picture of the dashboard: `make picture-dashboard`. The demo replays real blocks until the newest
// 1000 points are all younger than its first minutes, in which the price is uncertain.
//
//	node picture.mjs OUT DEMO BLOCK...

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { LIVE, launch, state, watch } from "./chromium.mjs";

const [out, demo, ...blocks] = process.argv.slice(2);
const RATE = 20; // transactions a second: 1000 points then span a minute or two
const WARM_UP = 5 * 60_000; // ms

const child = spawn(demo, blocks, { env: { ...process.env, EDGE_PORT: "0", RATE: String(RATE) }, stdio: ["ignore", "pipe", "inherit"] });
const ended = once(child, "exit");
ended.then(([code]) => code && process.exit(code)); // the demo has printed the reason
const url = await dashboard();
await pause(WARM_UP);
const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 }, colorScheme: "light", locale: "en-US", timezoneId: "UTC" });
  await page.addInitScript(watch);
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  await state(page, LIVE);
  await pause(15_000); // some live updates, drawn
  await page.screenshot({ path: out });
} finally {
  await browser.close();
  child.kill("SIGINT");
  await ended;
}

/** Reads the first edge's URL from what the demo prints. */
async function dashboard() {
  for await (const line of createInterface(child.stdout)) {
    const [url] = line.match(/http:\/\/\S+/) ?? [];
    if (url) {
      child.stdout.resume(); // or the demo waits for a reader of its status line
      return url;
    }
  }
  throw new Error("the demo has printed no address");
}
