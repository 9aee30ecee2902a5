// @ts-check
// The state of connection and newest snapshot in words. Pure: no DOM, no clock.

import { duration, hour, integer, minute, probability, roughly } from "./format.js";
import { say } from "./language.js";
import { ENOUGH } from "./pace.js";

/** @typedef {import("./client.js").StreamClient} StreamClient */
/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./client.js").Stats} Stats */
/** @typedef {import("./language.js").Key} Key */
/** @typedef {"connecting"|"live"|"reconnecting"|"offline"|"stale"|"warming"|"contested"|"refused"|"closed"} StateName */
/** @typedef {{name: StateName, words: string, advice?: string}} State advice: sentences on what it means for the price */

/**
 * @typedef {object} Circumstances what the state depends on besides the client
 * @property {number} now Date.now()
 * @property {number} secondsLeft until there are enough payments, as Pace forecasts; 0 if unknown
 * @property {boolean} [online] whether this device has a network
 * @property {number} [lastAt] when the last price of an earlier visit was computed, unix seconds; 0 if there is none
 */

const SILENT_AFTER = 3000; // ms; an edge sends every 500 ms
const OLD = 10; // seconds after which the time of the last price is said

/** The close codes of an edge that cannot serve now. @type {Map<number, Key>} */
const CLOSE_REASONS = new Map([[1001, "shuttingDown"], [4008, "tooSlow"], [4030, "full"]]);

const SURE = 0.75; // the confidence that the engine asks of a first price: contract.SureConfidence

/** Whether the price is fit to be shown as a fact. @param {{price: number, confidence: number, status: string}} snapshot */
export const isSure = ({ price, confidence, status }) => price > 0 && confidence >= SURE && status !== "warming";

/**
 * A status that this page does not know is shown as live.
 * @param {StreamClient} client @param {Circumstances} circumstances
 * @returns {State}
 */
export function stateOf(client, circumstances) {
  const { now, online = true, lastAt = 0 } = circumstances;
  const at = client.snapshot && client.snapshot.price > 0 ? client.freshAt / 1000 : lastAt;
  const isOffline = !online && (client.phase !== "open" || now - client.freshAt > SILENT_AFTER);
  const last = at > 0 && (isOffline || !client.snapshot || now / 1000 - at > OLD) ? { time: timeOf(at, now), ago: duration(now / 1000 - at) } : undefined;
  const withLast = (/** @type {string} */ words) => (last ? say("withLast", { words, ...last }) : words);
  const wait = Math.ceil((client.retryAt - now) / 1000);
  if (isOffline) return { name: "offline", words: withLast(say("noNetwork")) };
  switch (client.phase) {
    case "connecting":
      return connecting(client, withLast);
    case "waiting":
      return { name: "reconnecting", words: withLast(wait > 0 ? say("reconnectingIn", { s: wait }) : say("reconnectingNow")) };
    case "refused":
      return { name: "refused", words: withLast(wait > 0 ? say("refusedIn", { s: wait }) : say("refusedNow")) };
    case "closed":
      return { name: "closed", words: withLast(say("closed", { code: client.code })) };
    case "open":
      return openState(client, circumstances, withLast);
  }
}

/** The time, with its day if that is not clear. @param {number} t unix @param {number} now Date.now() */
const timeOf = (t, now) => (now / 1000 - t < 12 * 3600 ? hour(t) : minute(t));

/** @param {StreamClient} client @param {(words: string) => string} withLast @returns {State} */
function connecting(client, withLast) {
  return client.code ? { name: "reconnecting", words: withLast(say("reconnectingNow")) } : { name: "connecting", words: say("connecting") };
}

/** @param {StreamClient} client @param {Circumstances} circumstances @param {(words: string) => string} withLast @returns {State} */
function openState(client, { now, secondsLeft }, withLast) {
  const { snapshot } = client;
  // The edge sends the newest snapshot at once: waiting a moment avoids showing "stale" briefly.
  if (!client.goodSince && now - client.openedAt < SILENT_AFTER) return connecting(client, withLast);
  if (!snapshot) return { name: "stale", words: withLast(say("noSnapshot")) };
  if (snapshot.status === "stale" || now - client.freshAt > SILENT_AFTER) {
    const ago = duration((now - client.freshAt) / 1000);
    return { name: "stale", words: say(snapshot.price > 0 ? "stale" : "staleNoPrice", { time: timeOf(client.freshAt / 1000, now), ago }) };
  }
  const unsure = snapshot.price > 0 && snapshot.confidence < SURE ? { advice: say("unsure", { share: probability(snapshot.confidence) }) } : {};
  switch (snapshot.status) {
    case "warming":
      return { name: "warming", words: say("warming", { progress: snapshot.price > 0 ? soFar(snapshot) : progress(snapshot, secondsLeft) }), ...unsure };
    case "contested":
      return { name: "contested", words: say("contested"), advice: say("contestedAdvice") };
    default:
      return { name: "live", words: say("live"), ...unsure };
  }
}

/** @param {Snapshot} snapshot */
function soFar({ stats }) {
  const n = stats.total_received;
  return withShortage(say("soFar", { n: integer(n) }, n), stats);
}

/** What is missing for a price, peers included. @param {Snapshot} snapshot @param {number} secondsLeft 0 if unknown */
const progress = (snapshot, secondsLeft) => withShortage(payments(snapshot, secondsLeft), snapshot.stats);

/**
 * The payments that are missing for a price, and how long they will take.
 * @param {Snapshot} snapshot @param {number} secondsLeft 0 if unknown
 */
function payments({ stats }, secondsLeft) {
  const seen = stats.active_in_window;
  if (seen >= ENOUGH) return say("paymentsUnclear", { seen: integer(seen) });
  const values = { seen: integer(seen), enough: integer(ENOUGH) };
  return secondsLeft > 0 ? say("paymentsForecast", { ...values, forecast: roughly(secondsLeft) }) : say("paymentsMissing", values);
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
  if (state.name === "offline") return say("noNetworkHint");
  if (snapshot && state.name !== "reconnecting") {
    const missing = state.name === "warming" ? progress(snapshot, secondsLeft) : payments(snapshot, 0);
    return say("noPriceYet", { progress: missing });
  }
  switch (state.name) {
    case "connecting": return say("waiting");
    case "stale": return say("noneYet");
    case "refused": return say("refusedHint");
    case "closed": return say("closedHint");
    default: return say(CLOSE_REASONS.get(client.code) ?? "noResponse");
  }
}

/** The share of the payments that a first price takes, 0 to 1, while there is none; else null. @param {Snapshot | null} snapshot */
export const progressOf = (snapshot) =>
  (snapshot && !(snapshot.price > 0) ? Math.min(1, snapshot.stats.active_in_window / ENOUGH) : null);

/** @param {Stats} stats @returns {boolean} whether the transactions come from peers, not from a node */
export const fromPeers = ({ peers_wanted = 0 }) => peers_wanted > 0;

/**
 * Where the transactions come from: "a node", "8 peers", "3 of 8 peers" if some are missing, "a replay".
 * @param {Stats} stats @param {boolean} [replay]
 */
export function sourceOf(stats, replay = false) {
  if (replay) return say("aReplay");
  if (!fromPeers(stats)) return say("aNode");
  const { peers = 0, peers_wanted: wanted = 0 } = stats;
  const all = Math.max(peers, wanted);
  const n = integer(all);
  return peers < wanted ? say("peersOf", { some: integer(peers), n }, all) : say("peers", { n }, all);
}

/** Adds how many peers are connected if some are missing. @param {string} text @param {Stats} stats */
const withShortage = (text, stats) =>
  ((stats.peers ?? 0) < (stats.peers_wanted ?? 0) ? say("peersShort", { progress: text, source: sourceOf(stats) }) : text);
