// @ts-check
// The texts of the page.

import { NONE, change, confidenceWord, dollarParts, dollars, duration, integer, probability } from "./format.js";
import { fromPeers, sourceOf } from "./state.js";

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

/** @param {string} text */
export const showHint = (text) => writeOrHide("hint", text);

/** @param {string} text */
export const showNotice = (text) => writeOrHide("notice", text);

/** @param {Snapshot} s */
export function showSnapshot(s) {
  const known = s.price > 0;
  showPrice(s.price);
  write("interval", known ? `${dollars(s.low)} – ${dollars(s.high)}` : NONE);
  write("confidence", known ? `${probability(s.confidence)}, ${confidenceWord(s.confidence)}` : NONE);
  write("received", integer(s.stats.total_received));
  write("filtered", integer(s.stats.total_filtered));
  write("active", integer(s.stats.active_in_window));
  write("uptime", duration(s.stats.uptime_seconds));
  showSource(s.stats);
}

/** Names the source. A node validates them, an ingester with peers does not. @param {Stats} stats */
function showSource(stats) {
  const [source, peers] = [sourceOf(stats), fromPeers(stats)];
  write("source", source);
  write("source-note", peers ? "of Bitcoin's network, not validated here" : "its own mempool");
  const basis = peers ? `what ${source} of Bitcoin's network relay` : "a Bitcoin node's own mempool";
  write("basis", `Computed from ${basis}, without data from exchanges.`);
}

/** @param {"change-1h" | "change-24h"} id @param {number} price now @param {number} before 0 if unknown */
export function showChange(id, price, before) {
  const known = price > 0 && before > 0;
  write(id, known ? change(price / before - 1) : NONE);
  write(`${id}-from`, known ? `from ${dollars(before)}` : "not known yet");
}

/** Shows cents small: they change constantly and have little meaning. @param {number} price */
function showPrice(price) {
  if (!(price > 0)) return write("price", NONE);
  const parts = dollarParts(price);
  const node = byId("price");
  if (node.textContent === parts.map((p) => p.value).join("")) return;
  node.replaceChildren(...parts.map(({ type, value }) => {
    if (type !== "decimal" && type !== "fraction") return value;
    const small = document.createElement("small");
    small.textContent = value;
    return small;
  }));
}

/** Shows price and state in the title, the only visible part of a background tab. @param {Snapshot | null} s @param {State} state */
export function showTitle(s, state) {
  const price = s && s.price > 0 ? `${dollars(s.price)} · ` : "";
  const warning = state.name === "live" ? "" : `${state.name} · `;
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
