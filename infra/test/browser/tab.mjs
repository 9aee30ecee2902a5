// A tab that can be hidden. Playwright makes all its pages believe that they are looked at, so this one is not
// Playwright's: it speaks to Chromium itself.

import { watch } from "./chromium.mjs";
import { browser, until } from "./harness.mjs";

/** @param {import("node:test").TestContext} t @param {string} url */
export async function openTab(t, url) {
  const root = await browser.newBrowserCDPSession();
  const { browserContextId } = await root.send("Target.createBrowserContext");
  t.after(() => root.send("Target.disposeBrowserContext", { browserContextId }));
  const { targetId } = await root.send("Target.createTarget", { url: "about:blank", browserContextId });
  const send = await attach(root, targetId);

  const evaluate = async (/** @type {string} */ expression) => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  };
  await send("Page.enable");
  await send("Page.addScriptToEvaluateOnNewDocument", { source: `(${watch})()` });
  await send("Page.navigate", { url });
  return {
    evaluate,
    until: (/** @type {string} */ expression) => until(() => evaluate(expression), expression),
    hide: () => root.send("Target.createTarget", { url: "about:blank", browserContextId }), // a new tab is in front
    show: () => root.send("Target.activateTarget", { targetId }),
  };
}

/** Gives what sends a command to the target and waits for its answer. */
async function attach(root, targetId) {
  const { sessionId } = await root.send("Target.attachToTarget", { targetId, flatten: false });
  const waiting = new Map();
  let last = 0;
  root.on("Target.receivedMessageFromTarget", (e) => {
    const { id, result, error } = JSON.parse(e.message);
    const [resolve, reject] = waiting.get(id) ?? [];
    waiting.delete(id);
    if (error) reject?.(new Error(error.message));
    else resolve?.(result);
  });
  return (method, params = {}) => new Promise((resolve, reject) => {
    const id = ++last;
    waiting.set(id, [resolve, reject]);
    root.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method, params }) }).catch(reject);
  });
}
