// Chromium, and what is asked of the pages in it.

import { chromium } from "playwright-core";

/** @typedef {import("playwright-core").Page} Page */

const ARGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export const launch = () => chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGS });

/** What runs in every page before its own scripts do. */
export function watch() {
  const seen = { violations: [], states: [], messages: 0, draws: 0, firstPrice: 0, sockets: [] };
  window.seen = seen;
  addEventListener("securitypolicyviolation", (e) => seen.violations.push(`${e.violatedDirective}: ${e.blockedURI}`));

  const RealSocket = WebSocket;
  window.WebSocket = class extends RealSocket {
    constructor(...args) {
      super(...args);
      const socket = { protocol: "", kinds: [], first: null };
      seen.sockets.push(socket);
      this.addEventListener("message", (e) => {
        const message = JSON.parse(e.data);
        if (message.type === "pong") return;
        seen.messages++;
        seen.seq = message.seq;
        socket.protocol = this.protocol;
        socket.first ??= { type: message.type, transactions: message.transactions?.length, seq: message.seq };
      });
    }
  };

  const clear = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function (...args) {
    seen.draws++;
    return clear.apply(this, args);
  };

  addEventListener("DOMContentLoaded", () => {
    const look = () => {
      const price = document.getElementById("price")?.textContent ?? "";
      if (!seen.firstPrice && /\d/.test(price)) seen.firstPrice = performance.now();
      const state = document.getElementById("state")?.textContent?.trim();
      if (state && state !== seen.states.at(-1)) seen.states.push(state);
    };
    look();
    new MutationObserver(look).observe(document.body, { childList: true, characterData: true, subtree: true });
  });
}

/** Waits for a state in words. @param {Page} page @param {RegExp} words */
export async function state(page, words) {
  const is = (/** @type {string} */ source) => new RegExp(source).test(document.getElementById("state")?.textContent?.trim() ?? "");
  try {
    await page.waitForFunction(is, words.source);
  } catch (cause) {
    const { states, messages, sockets } = await page.evaluate(() => window.seen);
    throw new Error(`waited for ${words}; it was: ${states.join(" - ")}; ${messages} messages by ${sockets.length} sockets`, { cause });
  }
}

export const LIVE = /^live/;
