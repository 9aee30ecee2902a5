// @ts-check
// Code shared by the card and the clock.

import { StreamClient } from "./client.js";
import { say, useLanguage } from "./language.js";
import { Pace } from "./pace.js";
import { isSure, sourceOf, stateOf } from "./state.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {string} id @param {string} text */
export function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

const query = new URLSearchParams(location.search);

/** ?theme=light or dark; otherwise the reader's system decides. */
export function applyTheme() {
  const theme = query.get("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

/**
 * Shows the stream's state and source in words, and passes each snapshot to show. The language is that of ?language=en, de,
 * es, ja or pt, or of the reader's system.
 * @param {(snapshot: Snapshot) => void} show
 */
export function follow(show) {
  const client = new StreamClient();
  const pace = new Pace();
  let replay = false;
  const tick = () => {
    const state = stateOf(client, { now: Date.now(), secondsLeft: pace.secondsLeft, online: navigator.onLine });
    const isPlaying = replay && state.name === "live"; // nobody may take its price for today's, however small the card is
    write("state", isPlaying ? say("aReplay") : state.words);
    write("advice", state.advice ?? "");
    document.documentElement.dataset.state = state.name;
    byId("state").dataset.state = isPlaying ? "replay" : state.name;
    byId("source").hidden = isPlaying;
  };
  const showAll = () => {
    const { snapshot } = client;
    tick();
    if (!snapshot) return;
    write("source", say("from", { source: sourceOf(snapshot.stats, replay) }));
    byId("price").classList.toggle("unsure", snapshot.price > 0 && !isSure(snapshot));
    show(snapshot);
  };
  client.addEventListener("phase", tick);
  client.addEventListener("snapshot", () => {
    const { snapshot } = client;
    if (snapshot) pace.add(snapshot);
    showAll();
  });
  setInterval(tick, 250); // so that seconds count evenly and silence is detected in time
  useLanguage(query.get("language")).then(showAll);
  client.start();
  getJSON("api/v1/about").then((about) => {
    replay = about?.replay === true;
    if (about?.notice) showNotice(about);
    showAll();
  });
}

/** Shows the operator's notice, for example that the price is a demo's. @param {{notice: string}} about */
function showNotice(about) {
  write("notice", about.notice);
  byId("notice").title = about.notice; // the element may truncate it
  byId("notice").hidden = false;
}

/** @param {string} path @returns {Promise<any>} null if the request failed; the stream's state shows why */
export async function getJSON(path) {
  try {
    const response = await fetch(path);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
