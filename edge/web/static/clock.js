// @ts-check
// The clock: the price as large as the screen. It keeps the screen on.

import { NONE, dollars } from "./format.js";
import { say } from "./language.js";
import { isSure } from "./state.js";
import { applyTheme, byId, follow, write } from "./widget.js";

/** Keeps the screen on, if the browser allows it. */
async function keepAwake() {
  if (document.hidden) return;
  try {
    await navigator.wakeLock.request("screen");
  } catch {
    // The screen turns off as usual.
  }
}

applyTheme();
follow((snapshot) => {
  const known = snapshot.price > 0;
  const price = known ? `${isSure(snapshot) ? "" : "≈ "}${dollars(snapshot.price)}` : NONE;
  byId("price").style.setProperty("--length", String(price.length)); // the style sets the font size by it
  write("price", price);
  write("interval", known ? say("intervalOf", { low: dollars(snapshot.low), high: dollars(snapshot.high) }) : "");
  document.title = known ? `${price} · Sightglass` : "Sightglass";
});
document.addEventListener("visibilitychange", keepAwake); // hiding the page releases the lock
keepAwake();
