// @ts-check
// The last reliable price, stored in this browser: what the page shows when it opens without network.

/** @typedef {{price: number, low: number, high: number, confidence: number, timestamp: number}} Last */

const NAME = "sightglass.last"; // all sites of a host share its storage
const INTERVAL = 10; // seconds between two writes

let storedAt = -Infinity;

/** Stores a price, unless it has just stored one. @param {Last} snapshot */
export function storeLast({ price, low, high, confidence, timestamp }) {
  if (Math.abs(timestamp - storedAt) < INTERVAL) return;
  storedAt = timestamp;
  try {
    localStorage.setItem(NAME, JSON.stringify({ price, low, high, confidence, timestamp }));
  } catch {
    // Storage is blocked or full: there is no last price.
  }
}

/** @returns {Last | null} */
export function loadLast() {
  try {
    const last = JSON.parse(localStorage.getItem(NAME) ?? "null");
    const known = ["price", "low", "high", "confidence", "timestamp"].every((name) => last?.[name] > 0 && last[name] < 1e15);
    return known ? last : null;
  } catch {
    return null;
  }
}
