// @ts-check
// A link to the current view: time range, zone, theme. It is in the hash, which browsers do not send to servers.

/** @typedef {import("./view.js").Range} Range */

export const readLink = () => new URLSearchParams(location.hash.slice(1));

/** The range that a link asks for; null for the newest. @param {URLSearchParams} link @returns {Range | null} */
export function rangeOf(link) {
  const [from, to] = [Number(link.get("from")), Number(link.get("to"))];
  return from > 0 && to - from >= 1 && to < 1e11 ? { from, to } : null;
}

/**
 * @param {Range | null} range null for the newest
 * @param {Record<string, string>} settings
 */
export function linkTo(range, settings) {
  const link = new URLSearchParams(settings);
  for (const [end, t] of Object.entries(range ?? {})) link.set(end, t.toFixed(1));
  const url = new URL(location.href);
  url.hash = link.toString();
  return url.href;
}

/**
 * Puts the link into the address bar, and on the clipboard if that is allowed. Returns a message about the result.
 * @param {string} url
 */
export async function share(url) {
  history.replaceState(null, "", url);
  try {
    await navigator.clipboard.writeText(url);
    return "Link copied.";
  } catch {
    return "The link is in the address bar.";
  }
}

/** Removes the link from the address bar when the view differs from it. */
export function dropLink() {
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
}
