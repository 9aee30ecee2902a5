// @ts-check
// The state of connection and newest snapshot in words. Pure: no DOM, no clock.

import { duration, integer, roughly } from "./format.js";
import { ENOUGH } from "./pace.js";

/** @typedef {import("./client.js").StreamClient} StreamClient */
/** @typedef {"connecting"|"live"|"reconnecting"|"stale"|"warming"|"contested"|"refused"|"closed"} StateName */
/** @typedef {{name: StateName, words: string, advice?: string}} State advice: sentences on what it means for the price */

const SILENT_AFTER = 3000; // an edge sends every 500 ms

/** The close codes of an edge that cannot serve now, in words. */
const CLOSE_REASONS = new Map([
  [1001, "The edge is shutting down."],
  [4008, "The connection is too slow for the stream."],
  [4030, "The edge is full."],
]);

/**
 * A status that this page does not know is shown as live.
 * @param {StreamClient} client
 * @param {number} now Date.now()
 * @param {number} secondsLeft until there are enough payments, as Pace forecasts
 * @returns {State}
 */
export function stateOf(client, now, secondsLeft) {
  switch (client.phase) {
    case "connecting":
      return connecting(client);
    case "waiting":
      return { name: "reconnecting", words: `reconnecting ${inSeconds(client.retryAt - now)}` };
    case "refused":
      return {
        name: "refused",
        words: `too many connections from your address, trying again ${inSeconds(client.retryAt - now)}`,
      };
    case "closed":
      return { name: "closed", words: `closed by the edge (code ${client.code}), reload to try again` };
    case "open":
      return openState(client, now, secondsLeft);
  }
}

/** @param {StreamClient} client @returns {State} */
function connecting(client) {
  return client.code ? { name: "reconnecting", words: "reconnecting now" } : { name: "connecting", words: "connecting" };
}

/** @param {StreamClient} client @param {number} now @param {number} secondsLeft @returns {State} */
function openState(client, now, secondsLeft) {
  const { snapshot } = client;
  // The edge sends the newest snapshot at once: waiting a moment avoids showing "stale" briefly.
  if (!client.goodSince && now - client.openedAt < SILENT_AFTER) return connecting(client);
  if (!snapshot) return { name: "stale", words: "connected, but no snapshot received yet" };
  if (snapshot.status === "stale" || now - client.freshAt > SILENT_AFTER) {
    return { name: "stale", words: `stale: last update ${duration((now - client.freshAt) / 1000)} ago` };
  }
  switch (snapshot.status) {
    case "warming":
      return { name: "warming", words: `warming up: ${snapshot.price > 0 ? sofar(snapshot) : progress(snapshot, secondsLeft)}` };
    case "contested":
      return { name: "contested", words: "contested: round amounts are being paid at a second price", advice: CONTESTED };
    default:
      return { name: "live", words: "live" };
  }
}

const CONTESTED = "The price shown is the one whose payments have been there for hours. Trust it less until this ends.";

/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./client.js").Stats} Stats */

/** @param {Snapshot} snapshot */
const sofar = ({ stats }) => `${count(stats.total_received)} so far${shortage(stats)}`;

/** What is missing for a price, peers included. @param {Snapshot} snapshot @param {number} secondsLeft 0 if unknown */
const progress = (snapshot, secondsLeft) => payments(snapshot, secondsLeft) + shortage(snapshot.stats);

/**
 * The payments that are missing for a price, and how long they will take.
 * @param {Snapshot} snapshot @param {number} secondsLeft 0 if unknown
 */
function payments({ stats }, secondsLeft) {
  const seen = stats.active_in_window;
  if (seen >= ENOUGH) return `${integer(seen)} payments seen, mostly enough, but their price is not clear yet`;
  const forecast = secondsLeft > 0 ? `; ${roughly(secondsLeft)} at this pace` : "";
  return `${integer(seen)} of about ${integer(ENOUGH)} payments seen${forecast}`;
}

/**
 * A hint if there is nothing to draw; else empty.
 * @param {StreamClient} client
 * @param {State} state
 * @param {number} secondsLeft as for stateOf
 */
export function hintOf(client, state, secondsLeft) {
  const { snapshot } = client;
  if (snapshot && snapshot.price > 0) return "";
  if (snapshot && state.name !== "reconnecting") {
    const missing = state.name === "warming" ? progress(snapshot, secondsLeft) : payments(snapshot, 0);
    return `There is no price yet: ${missing}.`;
  }
  switch (state.name) {
    case "connecting": return "Waiting for the first snapshot.";
    case "stale": return "The edge has no snapshot yet: is the ingester running? This page updates as soon as there is one.";
    case "refused": return "Close other tabs that show this page, or wait.";
    case "closed": return "Reload the page to try again.";
    default: return `${CLOSE_REASONS.get(client.code) ?? "The edge does not respond: is it running?"} This page keeps trying.`;
  }
}

/** @param {Stats} stats @returns {boolean} whether the transactions come from peers, not from a node */
export const fromPeers = ({ peers_wanted = 0 }) => peers_wanted > 0;

/** Where the transactions come from: "a node", "8 peers", "3 of 8 peers" if some are missing. @param {Stats} stats */
export function sourceOf(stats) {
  if (!fromPeers(stats)) return "a node";
  const { peers = 0, peers_wanted: wanted = 0 } = stats;
  const some = peers < wanted ? `${integer(peers)} of ` : "";
  const all = Math.max(peers, wanted);
  return `${some}${integer(all)} peer${all === 1 ? "" : "s"}`;
}

/** Says how many peers are connected if some are missing. @param {Stats} stats */
const shortage = (stats) => ((stats.peers ?? 0) < (stats.peers_wanted ?? 0) ? `; ${sourceOf(stats)} connected` : "");

/** @param {number} ms */
function inSeconds(ms) {
  const s = Math.ceil(ms / 1000);
  return s > 0 ? `in ${s} s` : "now";
}

/** @param {number} n */
function count(n) {
  return `${integer(n)} transaction${n === 1 ? "" : "s"}`;
}
