// @ts-check
// The texts of the page.

import { NONE, change, confidenceWord, dollarParts, dollars, duration, integer, probability } from "./format.js";
import { say } from "./language.js";
import { fromPeers, isSure, progressOf, sourceOf } from "./state.js";

/** @typedef {import("./client.js").Snapshot} Snapshot */
/** @typedef {import("./client.js").Stats} Stats */
/** @typedef {import("./state.js").State} State */

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {string} id @param {string} text */
export function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

/** Hides the element if the text is empty. @param {string} id @param {string} text */
function writeOrHide(id, text) {
  write(id, text);
  byId(id).hidden = text === "";
}

/** @param {State} state */
export function showState(state) {
  write("state", state.words);
  if (byId("state").dataset.state !== state.name) byId("state").dataset.state = state.name;
  writeOrHide("advice", state.advice ?? "");
}

/**
 * Shows why there is nothing to draw, and how far it is from the first price.
 * @param {string} text empty if there is @param {Snapshot | null} s
 */
export function showHint(text, s) {
  write("hint-text", text);
  byId("hint").hidden = text === "";
  const progress = progressOf(s);
  byId("progress").hidden = progress === null;
  if (progress !== null) /** @type {HTMLProgressElement} */ (byId("progress")).value = progress;
}

/** @param {string} text */
export const showNotice = (text) => writeOrHide("notice", text);

/** @typedef {Pick<Snapshot, "price" | "low" | "high" | "confidence">} Estimate */

/** @param {Estimate} e @param {boolean} sure whether it is fit to be shown as a fact */
export function showEstimate(e, sure) {
  const known = e.price > 0;
  showPrice(e.price, sure);
  write("interval", known ? `${dollars(e.low)} – ${dollars(e.high)}` : NONE);
  write("confidence", known ? say("confidenceOf", { share: probability(e.confidence), word: confidenceWord(e.confidence) }) : NONE);
}

/** @param {Snapshot} s @param {boolean} replay whether the transactions are recorded ones */
export function showSnapshot(s, replay) {
  showEstimate(s, isSure(s));
  write("received", integer(s.stats.total_received));
  write("filtered", integer(s.stats.total_filtered));
  write("active", integer(s.stats.active_in_window));
  write("uptime", duration(s.stats.uptime_seconds));
  showSource(s.stats, replay);
}

/** Names the source. A node validates transactions, an ingester with peers does not. @param {Stats} stats @param {boolean} replay */
function showSource(stats, replay) {
  const [source, peers] = [sourceOf(stats, replay), fromPeers(stats)];
  write("source", source);
  write("origin", say("from", { source }));
  write("source-note", say(replay ? "replayNote" : peers ? "peersNote" : "nodeNote"));
  write("basis", replay ? say("basisReplay") : peers ? say("basisPeers", { source }) : say("basisNode"));
}

/** @param {"change-1h" | "change-24h"} id @param {number} price now @param {number} before 0 if unknown */
export function showChange(id, price, before) {
  const known = price > 0 && before > 0;
  write(id, known ? change(price / before - 1) : NONE);
  write(`${id}-from`, known ? say("changeFrom", { price: dollars(before) }) : say("unknown"));
}

/**
 * Shows cents small: they change constantly and have little meaning. A price that may be wrong is small as a whole.
 * @param {number} price @param {boolean} sure
 */
function showPrice(price, sure) {
  const node = byId("price");
  node.classList.toggle("unsure", price > 0 && !sure);
  if (!(price > 0)) return write("price", NONE);
  if (!sure) return write("price", `≈ ${dollars(price)}`);
  const parts = dollarParts(price);
  if (node.textContent === parts.map((p) => p.value).join("")) return;
  node.replaceChildren(...parts.map(({ type, value }) => {
    if (type !== "decimal" && type !== "fraction") return value;
    const small = document.createElement("small");
    small.textContent = value;
    return small;
  }));
}

/** The states in a word. @type {Record<Exclude<import("./state.js").StateName, "live">, import("./language.js").Key>} */
const TITLES = {
  connecting: "stateConnecting", reconnecting: "stateReconnecting", offline: "stateOffline", stale: "stateStale",
  warming: "stateWarming", contested: "stateContested", refused: "stateRefused", closed: "stateClosed",
};

/** Shows price and state in the title, the only visible part of a background tab. @param {Snapshot | null} s @param {State} state */
export function showTitle(s, state) {
  const price = s && s.price > 0 ? `${isSure(s) ? "" : "≈ "}${dollars(s.price)} · ` : "";
  const warning = state.name === "live" ? "" : `${say(TITLES[state.name])} · `;
  const title = `${price}${warning}Sightglass`;
  if (document.title !== title) document.title = title;
}

/** Explanations open on hover, focus or tap, by CSS alone. Escape closes them. */
export function closeTipsOnEscape() {
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll(".why");
  addEventListener("keydown", (e) => {
    if (e.key === "Escape") buttons.forEach((b) => (b.dataset.closed = ""));
  });
  for (const button of buttons) {
    const open = () => delete button.dataset.closed;
    for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, open);
    button.addEventListener("click", () => button.focus()); // Safari does not by itself
  }
}
