// @ts-check
// What the card and the clock share.

import { StreamClient } from "./client.js";
import { stateOf } from "./state.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {string} id @param {string} text */
export function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

/** ?theme=light or dark; anything else leaves the choice to the reader's system. */
export function applyTheme() {
  const theme = new URLSearchParams(location.search).get("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

/**
 * Shows the stream's state in words, and each snapshot by show.
 * @param {(snapshot: Snapshot) => void} show
 */
export function follow(show) {
  const client = new StreamClient();
  const tick = () => {
    const state = stateOf(client, Date.now());
    write("state", state.words);
    document.documentElement.dataset.state = byId("state").dataset.state = state.name;
  };
  client.addEventListener("phase", tick);
  client.addEventListener("snapshot", () => {
    tick();
    if (client.snapshot) show(client.snapshot);
  });
  setInterval(tick, 250); // so that seconds are counted evenly, and silence is noticed when it is due
  client.start();
  showNotice();
}

/** What the edge's operator has to say: a demo's price, for one, must not pass for today's. */
async function showNotice() {
  const about = await getJSON("api/v1/about");
  if (!about?.notice) return;
  write("notice", about.notice);
  byId("notice").title = about.notice; // there may be no room for all of it
  byId("notice").hidden = false;
}

/** @param {string} path @returns {Promise<any>} null if there is none; the stream's state tells why */
export async function getJSON(path) {
  try {
    const answer = await fetch(path);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
