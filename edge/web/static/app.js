// @ts-check
// The page's parts and how they hang together: stream and history -> points and course -> text and chart.

import { Amounts } from "./amounts.js";
import { Announcer } from "./announcer.js";
import { StreamClient } from "./client.js";
import { Course } from "./course.js";
import { instant, time, useUTC } from "./format.js";
import { listenToGestures } from "./gestures.js";
import { loadDay, loadSince } from "./history.js";
import { listenToKeys } from "./keys.js";
import { dropLink, linkTo, rangeOf, readLink, share } from "./link.js";
import { onSystemColors, readColors } from "./palette.js";
import { byId, showChange, showHint, showNotice, showSnapshot, showState, showTitle, write } from "./panel.js";
import { savePicture } from "./picture.js";
import { Plot } from "./plot.js";
import { Points } from "./points.js";
import { Reading } from "./reading.js";
import { applyTheme, borrow, onSetting, settings, showSettings } from "./settings.js";
import { hintOf, stateOf } from "./state.js";
import { Table } from "./table.js";
import { closeTipsOnEscape } from "./tips.js";
import { View } from "./view.js";

const HOUR = 3600;
const GAP = 30; // seconds without a snapshot, after which the edge is asked for what was missed
const DESCRIBE_EVERY = 10_000; // often enough for a text that nobody reads twice

const points = new Points();
const course = new Course();
const view = new View();
restore();

const plot = new Plot(byId("cloud"), points, course, view);
const reading = new Reading(plot, () => client.snapshot?.price ?? 0, () => amounts.find());
const amounts = new Amounts(points, () => reading.isOpen && client.phase === "open", () => reading.learned());
const table = new Table(/** @type {HTMLTableElement} */ (byId("table")), points, async () => {
  if (client.phase === "open") await amounts.update();
});
const announcer = new Announcer();
const client = new StreamClient();

/** Shows what a link asks for. */
function restore() {
  const link = readLink();
  borrow(link);
  showSettings();
  useUTC(settings.zone === "utc");
  applyTheme();
  readColors();
  const range = rangeOf(link);
  if (range) view.choose(range);
  else view.live();
}

/**
 * Runs draw in the next animation frame, once, however often it is asked to; so never in a hidden tab.
 * @param {() => void} draw
 */
function perFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

const redraw = perFrame(() => {
  drawText();
  drawChart();
});

/** A chart that is paused stands still; what came meanwhile is drawn later. */
const drawSnapshot = perFrame(() => {
  drawText();
  if (!view.paused) drawChart();
});

function drawText() {
  const s = client.snapshot;
  if (!s) return;
  showSnapshot(s);
  showChange("change-1h", s.price, course.priceAt(s.timestamp - HOUR));
  showChange("change-24h", s.price, course.priceAt(s.timestamp - 24 * HOUR, HOUR / 4));
  table.update(s.price, Date.now());
}

let describedAt = 0;

function drawChart() {
  const s = client.snapshot;
  if (!s || !(s.price > 0)) return;
  plot.draw(s);
  reading.place();
  if (Date.now() - describedAt < DESCRIBE_EVERY) return;
  describedAt = Date.now();
  byId("cloud").setAttribute("aria-label", plot.describe(s));
}

/** What the buttons say of the view. */
function showView() {
  byId("pause").setAttribute("aria-pressed", String(view.paused));
  if (view.following && document.activeElement === byId("follow")) byId("cloud").focus({ preventScroll: true });
  byId("follow").hidden = view.following || view.paused;
  const { from, to } = view.range;
  const recent = from > view.limits.now - 12 * HOUR;
  const word = recent ? time : instant;
  const range = view.following ? "" : `${word(from)} – ${word(to)}`;
  write("range", view.paused ? `Paused: ${range}` : range);
}

/** @param {() => void} change of the view */
function look(change) {
  if (view.range.to <= view.range.from) return; // nothing is drawn yet
  change();
  dropLink();
  showView();
  redraw();
}

const zoomAt = (/** @type {number} */ factor, /** @type {number} */ at) => look(() => view.zoom(factor, at));
const goLive = () => look(() => view.live());
const panBy = (/** @type {number} */ seconds) => look(() => view.pan(seconds));

listenToGestures(plot.host, {
  zoom: (factor, x) => zoomAt(factor, plot.timeAt(x)),
  pan: (pixels) => panBy(-pixels * plot.secondsPerPixel),
  point: (at) => reading.read(at ? plot.nearest(at.x, at.y) : -1),
  reset: goLive,
});
listenToKeys(reading, {
  zoom: (factor) => zoomAt(factor, reading.current?.timestamp ?? (view.range.from + view.range.to) / 2),
  pan: (share) => panBy(share * (view.range.to - view.range.from)),
  live: goLive,
});

byId("follow").addEventListener("click", goLive);
byId("pause").addEventListener("click", () => look(() => (view.paused ? view.live() : view.pause())));
byId("show-table").addEventListener("click", () => {
  table.toggle(client.snapshot?.price ?? 0);
  byId("show-table").setAttribute("aria-expanded", String(table.shown));
});
byId("export").addEventListener("click", () => {
  if (!client.snapshot) return tell("There is nothing to save yet.");
  savePicture(plot, client.snapshot, stateOf(client, Date.now()).words);
  tell("Image saved.");
});
byId("permalink").addEventListener("click", async () => {
  tell(await share(linkTo(view.following ? null : view.range, settings)));
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let told;

/** What a button did; it need not stay. @param {string} text */
function tell(text) {
  write("told", text);
  clearTimeout(told);
  told = setTimeout(() => write("told", ""), 6000);
}

/** After another theme or zone. */
function repaint() {
  useUTC(settings.zone === "utc");
  applyTheme();
  readColors();
  reading.again();
  table.again(client.snapshot?.price ?? 0);
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
  askHistory();
});
new ResizeObserver(([{ contentRect }]) => {
  plot.chart.resize(contentRect.width, contentRect.height);
  drawChart(); // at once, since the new size emptied the canvas; the browser calls this once a frame
}).observe(plot.host);

/** What changes with time alone, too: the words that count seconds, and what is seen or heard of a hidden tab. */
function tick() {
  const now = Date.now();
  const state = stateOf(client, now);
  showState(state);
  showHint(hintOf(client, state));
  showTitle(client.snapshot, state);
  const news = announcer.next(client.snapshot, state, now);
  if (news) write("announcer", news);
}

/** What this edge's operator has to say. An edge that is restarted may say something else. */
async function askNotice() {
  try {
    const answer = await fetch("api/v1/about");
    if (answer.ok) showNotice((await answer.json()).notice ?? "");
  } catch {
    // The stream's state already tells that the edge does not answer.
  }
}

let remembered = false; // whether the edge's history is here

/** @param {import("./course.js").Entry[]} entries */
function takeHistory(entries) {
  course.merge(entries);
  redraw();
}

async function askHistory() {
  const from = rangeOf(readLink())?.from ?? Infinity;
  const aDayAgo = Date.now() / 1000 - 24 * HOUR;
  remembered = await loadDay(from < aDayAgo ? from : 0, takeHistory);
}

/** @param {import("./client.js").Snapshot} s */
function takeIn(s) {
  const first = points.length === 0;
  points.follow(s.transactions);
  if (first) amounts.update(); // later a reader may point at what no edge knows any more
  if (!(s.price > 0)) return;
  const last = course.length > 0 ? course.time(course.length - 1) : s.timestamp;
  course.add(s.timestamp, s.price, s.low, s.high);
  if (s.timestamp - last > GAP) loadSince(last, takeHistory);
}

client.addEventListener("snapshot", () => {
  if (client.snapshot) takeIn(client.snapshot);
  tick();
  drawSnapshot();
});
client.addEventListener("phase", () => {
  tick();
  if (client.phase !== "open") return;
  askNotice();
  if (!remembered) askHistory();
});
setInterval(tick, 250); // so that seconds are counted evenly, and silence is noticed when it is due
showView();
client.start();
