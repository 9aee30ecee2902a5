// @ts-check
// The page's parts and how they hang together: stream -> state -> text and canvas.

import { StreamClient } from "./client.js";
import { Cloud } from "./cloud.js";
import { Announcer, showHint, showNotice, showSnapshot, showState, showTitle } from "./panel.js";
import { hintOf, stateOf } from "./state.js";

const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("cloud"));
const cloud = new Cloud(canvas);
const announcer = new Announcer();
const client = new StreamClient(streamURL());

function streamURL() {
  const url = new URL("/ws/mempool", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/**
 * Runs draw in the next animation frame, once, however often it is asked to; so never in a hidden tab.
 * @param {() => void} draw
 */
function perFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

const DESCRIBE_EVERY = 10_000; // often enough for a text that nobody reads twice
let describedAt = 0;

const drawSnapshot = perFrame(() => {
  if (!client.snapshot) return;
  showSnapshot(client.snapshot);
  cloud.show(client.snapshot);
  if (Date.now() - describedAt < DESCRIBE_EVERY) return;
  describedAt = Date.now();
  canvas.setAttribute("aria-label", cloud.describe());
});

/** What changes with time alone, too: the words that count seconds, and what is seen or heard of a hidden tab. */
function tick() {
  const now = Date.now();
  const state = stateOf(client, now);
  showState(state);
  showHint(hintOf(client, state));
  showTitle(client.snapshot, state);
  announcer.update(client.snapshot, state, now);
}

/** What this edge's operator has to say. An edge that is restarted may say something else. */
async function askNotice() {
  try {
    const answer = await fetch("/api/v1/about");
    if (answer.ok) showNotice((await answer.json()).notice ?? "");
  } catch {
    // The stream's state already tells that the edge does not answer.
  }
}

client.addEventListener("snapshot", () => {
  tick();
  drawSnapshot();
});
client.addEventListener("phase", () => {
  tick();
  if (client.phase === "open") askNotice();
});
setInterval(tick, 250); // so that seconds are counted evenly, and silence is noticed when it is due
client.start();
