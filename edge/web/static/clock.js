// @ts-check
// The clock: the price as large as the screen, which it keeps on.

import { NONE, dollars } from "./format.js";
import { applyTheme, byId, follow, write } from "./small.js";

/** Where it is not allowed, or on battery, the screen goes off as it always does. */
async function keepAwake() {
  if (document.hidden) return;
  try {
    await navigator.wakeLock.request("screen");
  } catch {
    // Nothing is lost but light.
  }
}

applyTheme();
follow((snapshot) => {
  const known = snapshot.price > 0;
  const price = known ? dollars(snapshot.price) : NONE;
  byId("price").style.setProperty("--length", String(price.length)); // the style makes it fit
  write("price", price);
  write("interval", known ? `90% interval ${dollars(snapshot.low)} – ${dollars(snapshot.high)}` : "");
  document.title = known ? `${price} · Sightglass` : "Sightglass";
});
document.addEventListener("visibilitychange", keepAwake); // a hidden page loses it
keepAwake();
