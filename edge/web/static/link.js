// @ts-check
// A link to the current view: time range, zone, theme. It is in the hash, which browsers do not send to servers. The address
// bar always has the range, so that reloading the page or going back shows it.

import { say } from "./language.js";

/** @typedef {import("./view.js").Range} Range */

/** The names of the newest ranges in links, and their lengths in seconds; the one without a name is that of the points. */
export const SPANS = new Map([
  ["3h", 3 * 3600], ["1d", 86400], ["1w", 7 * 86400], ["1m", 30 * 86400], ["1y", 365.25 * 86400], ["all", Infinity],
]);

export const readLink = () => new URLSearchParams(location.hash.slice(1));

/** The length of the newest range that a link asks for; 0 is that of the points. @param {URLSearchParams} link */
export const spanOf = (link) => SPANS.get(link.get("range") ?? "") ?? 0;

/** The name of such a length; undefined for that of the points. @param {number} span */
export const nameOf = (span) => [...SPANS].find(([, s]) => s === span)?.[0];

/** The range that a link asks for; null for the newest. @param {URLSearchParams} link @returns {Range | null} */
export function rangeOf(link) {
  const [from, to] = [Number(link.get("from")), Number(link.get("to"))];
  return from > 0 && to - from >= 1 && to < 1e11 ? { from, to } : null;
}

/** @param {import("./view.js").View} view @param {Record<string, string>} settings */
export const linkTo = (view, settings) => urlOf(view, new URLSearchParams(settings));

/** @param {import("./view.js").View} view @param {URLSearchParams} link to complete */
function urlOf(view, link) {
  for (const name of ["range", "from", "to"]) link.delete(name);
  const name = nameOf(view.span);
  if (!view.following) for (const [end, t] of Object.entries(view.range)) link.set(end, t.toFixed(1));
  else if (name) link.set("range", name);
  const url = new URL(location.href);
  url.hash = link.toString();
  return url.href.replace(/#$/, "");
}

/**
 * Puts the view into the address bar. Leaving a named range is a step that can be taken back; moving on from a range of the
 * reader's is none.
 * @param {import("./view.js").View} view
 */
export function keepLink(view) {
  const link = readLink();
  const isStep = view.following || !link.has("from");
  const url = urlOf(view, link);
  if (url === location.href) return;
  if (isStep) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
}

/**
 * Puts the link into the address bar, and on the clipboard if that is allowed. Returns a message about the result.
 * @param {string} url
 */
export async function share(url) {
  history.replaceState(null, "", url);
  try {
    await navigator.clipboard.writeText(url);
    return say("linkCopied");
  } catch {
    return say("linkInBar");
  }
}

/** Removes the settings from the address bar when the reader has others. @param {Iterable<string>} names */
export function dropSettings(names) {
  const link = readLink();
  for (const name of names) link.delete(name);
  history.replaceState(null, "", `${location.pathname}${location.search}${link.size > 0 ? `#${link}` : ""}`);
}
