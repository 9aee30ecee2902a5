// Pages whose stream is the test's own; everything else is a real edge's.

import { EDGE, open } from "./harness.mjs";

/** @typedef {import("playwright-core").Page} Page */

/** The edge's newest snapshot when the script begins. */
export const live = await (await fetch(`${EDGE}/api/v1/snapshot`)).json();

/**
 * Opens a page whose stream sends five keyframes a second: the edge's snapshot with what stream.next returns.
 * @param {import("node:test").TestContext} t @param {string} path @param {{next: (seq: number) => object}} stream
 * @param {object} [context] @param {() => void} [before] what runs in the page before its scripts
 * @param {(page: Page) => Promise<void>} [route] answers requests in place of the edge
 */
export function openWith(t, path, stream, context, before, route) {
  const prepare = async (page) => {
    if (before) await page.addInitScript(before);
    await route?.(page);
    await page.routeWebSocket(/\/ws\/mempool$/, (socket) => {
      let seq = 0;
      const send = () => socket.send(JSON.stringify({
        type: "keyframe", ...live, epoch: "9", timestamp: Date.now() / 1000, seq: ++seq, ...stream.next(seq),
      }));
      send();
      const timer = setInterval(send, 200);
      const stop = () => clearInterval(timer);
      socket.onClose(stop);
      t.after(stop);
    });
  };
  return open(t, { url: EDGE + path, prepare, context });
}
