// @ts-check
// The page's parts and how they are connected: stream and history API -> points and price history -> text and chart.

import { Amounts } from "./amounts.js";
import { Announcer } from "./announcer.js";
import { StreamClient } from "./client.js";
import { instant, time, useUTC } from "./format.js";
import { listenToGestures } from "./gestures.js";
import { PriceHistory, loadDay, loadSince } from "./history.js";
import { listenToKeys } from "./keys.js";
import { dropLink, linkTo, rangeOf, readLink, share } from "./link.js";
import { Pace } from "./pace.js";
import { onSystemColors, readColors } from "./palette.js";
import { byId, closeTipsOnEscape, showChange, showHint, showNotice, showSnapshot, showState, showTitle, write } from "./panel.js";
import { savePicture } from "./picture.js";
import { Plot } from "./plot.js";
import { Points } from "./points.js";
import { Reading } from "./reading.js";
import { applyLink, applyTheme, onSetting, settings, showSettings } from "./settings.js";
import { hintOf, stateOf } from "./state.js";
import { Table } from "./table.js";
import { View } from "./view.js";

const HOUR = 3600;
const GAP = 30; // seconds without a snapshot, after which the missed history is fetched
const DESCRIBE_INTERVAL = 10_000; // ms

const points = new Points();
const priceHistory = new PriceHistory();
const view = new View();
restore();

const plot = new Plot(byId("chart"), points, priceHistory, view);
const reading = new Reading(plot, () => client.snapshot?.price ?? 0, () => amounts.find());
const amounts = new Amounts(points, () => reading.lacksAmount && client.phase === "open", () => reading.amountsChanged());
const table = new Table(/** @type {HTMLTableElement} */ (byId("table")), points, async () => {
  if (client.phase === "open") await amounts.update();
});
const announcer = new Announcer();
const client = new StreamClient();
const pace = new Pace();
const stateNow = () => stateOf(client, Date.now(), pace.secondsLeft);

/** Applies the settings and the range of the link. */
function restore() {
  const link = readLink();
  applyLink(link);
  showSettings();
  useUTC(settings.zone === "utc");
  applyTheme();
  readColors();
  const range = rangeOf(link);
  if (range) view.choose(range);
  else view.live();
}

/**
 * Runs draw once in the next animation frame, however often it is called; so never in a hidden tab.
 * @param {() => void} draw
 */
function perFrame(draw) {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      draw();
    });
  };
}

const redraw = perFrame(() => {
  drawText();
  drawChart();
});

/** A paused chart is not redrawn. */
const drawSnapshot = perFrame(() => {
  drawText();
  if (!view.paused) drawChart();
});

function drawText() {
  const s = client.snapshot;
  if (!s) return;
  showSnapshot(s);
  showChange("change-1h", s.price, priceHistory.priceAt(s.timestamp - HOUR));
  showChange("change-24h", s.price, priceHistory.priceAt(s.timestamp - 24 * HOUR, HOUR / 4));
  table.update(s.price, Date.now());
}

let describedAt = 0;

function drawChart() {
  const s = client.snapshot;
  if (!s) return;
  if (!(s.price > 0)) { // the hint covers the chart
    describedAt = 0;
    return byId("chart").setAttribute("aria-label", plot.describe(s));
  }
  plot.draw(s);
  reading.place();
  if (Date.now() - describedAt < DESCRIBE_INTERVAL) return;
  describedAt = Date.now();
  byId("chart").setAttribute("aria-label", plot.describe(s));
}

/** Updates the buttons and the range. */
function showView() {
  byId("pause").setAttribute("aria-pressed", String(view.paused));
  if (view.following && document.activeElement === byId("follow")) byId("chart").focus({ preventScroll: true });
  byId("follow").hidden = view.following || view.paused;
  const { from, to } = view.range;
  const recent = from > view.limits.now - 12 * HOUR;
  const word = recent ? time : instant;
  const range = view.following ? "" : `${word(from)} – ${word(to)}`;
  write("range", view.paused ? `Paused: ${range}` : range);
}

/** @param {() => void} change of the view */
function changeView(change) {
  if (view.range.to <= view.range.from) return; // not drawn yet
  change();
  dropLink();
  showView();
  redraw();
}

const zoomAt = (/** @type {number} */ factor, /** @type {number} */ at) => changeView(() => view.zoom(factor, at));
const goLive = () => changeView(() => view.live());
const panBy = (/** @type {number} */ seconds) => changeView(() => view.pan(seconds));

listenToGestures(plot.host, {
  zoom: (factor, x) => zoomAt(factor, plot.timeAt(x)),
  pan: (pixels) => panBy(-pixels * plot.secondsPerPixel),
  point: (at) => reading.select(at ? plot.nearest(at.x, at.y) : -1),
  reset: goLive,
});
listenToKeys(reading, {
  zoom: (factor) => zoomAt(factor, reading.current?.timestamp ?? (view.range.from + view.range.to) / 2),
  pan: (share) => panBy(share * (view.range.to - view.range.from)),
  live: goLive,
});

byId("follow").addEventListener("click", goLive);
byId("pause").addEventListener("click", () => changeView(() => (view.paused ? view.live() : view.pause())));
byId("show-table").addEventListener("click", () => {
  table.toggle(client.snapshot?.price ?? 0);
  byId("show-table").setAttribute("aria-expanded", String(table.shown));
});
byId("export").addEventListener("click", () => {
  const s = client.snapshot;
  if (!s || !(s.price > 0)) return showMessage("There is no price to save yet.");
  savePicture(plot, s, stateNow().words);
  showMessage("Image saved.");
});
byId("permalink").addEventListener("click", async () => {
  showMessage(await share(linkTo(view.following ? null : view.range, settings)));
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let messageTimer;

/** Shows the result of a button for some seconds. @param {string} text */
function showMessage(text) {
  write("message", text);
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => write("message", ""), 6000);
}

/** Redraws everything, as after a change of theme or time zone. */
function repaint() {
  useUTC(settings.zone === "utc");
  applyTheme();
  readColors();
  reading.refresh();
  table.refresh(client.snapshot?.price ?? 0);
  showView();
  redraw();
}

onSetting(() => {
  dropLink();
  repaint();
});
onSystemColors(repaint);
closeTipsOnEscape();
addEventListener("hashchange", () => {
  restore();
  repaint();
  fetchHistory();
});
new ResizeObserver(([{ contentRect }]) => {
  plot.chart.resize(contentRect.width, contentRect.height);
  drawChart(); // at once, as resizing cleared the canvas; the browser calls this once a frame
}).observe(plot.host);

/** Updates what also changes without a snapshot: the state, the title and the announcements. */
function tick() {
  const state = stateNow();
  showState(state);
  showHint(hintOf(client, state, pace.secondsLeft));
  showTitle(client.snapshot, state);
  const news = announcer.next(client.snapshot, state, Date.now());
  if (news) write("announcer", news);
}

/** Shows the operator's notice. An edge that was restarted may have another one. */
async function fetchNotice() {
  try {
    const response = await fetch("api/v1/about");
    if (response.ok) showNotice((await response.json()).notice ?? "");
  } catch {
    // The stream's state already shows that the edge does not respond.
  }
}

let historyLoaded = false;

/** @param {import("./history.js").Entry[]} entries */
function mergeHistory(entries) {
  priceHistory.merge(entries);
  redraw();
}

async function fetchHistory() {
  const from = rangeOf(readLink())?.from ?? Infinity;
  const aDayAgo = Date.now() / 1000 - 24 * HOUR;
  historyLoaded = await loadDay(from < aDayAgo ? from : 0, mergeHistory);
}

/** @param {import("./client.js").Snapshot} s */
function addSnapshot(s) {
  pace.add(s);
  const first = points.length === 0;
  points.update(s.transactions);
  if (first) amounts.update(); // an edge has them for a short time only
  if (!(s.price > 0)) return;
  const last = priceHistory.length > 0 ? priceHistory.time(priceHistory.length - 1) : s.timestamp;
  priceHistory.add(s.timestamp, s.price, s.low, s.high);
  if (s.timestamp - last > GAP) loadSince(last, mergeHistory);
}

client.addEventListener("snapshot", () => {
  if (client.snapshot) addSnapshot(client.snapshot);
  tick();
  drawSnapshot();
});
client.addEventListener("phase", () => {
  tick();
  if (client.phase !== "open") return;
  fetchNotice();
  if (!historyLoaded) fetchHistory();
});
setInterval(tick, 250); // so that seconds count evenly and silence is detected in time
showView();
client.start();
