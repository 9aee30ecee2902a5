// @ts-check
// The page's parts and how they are connected: stream and history API -> points and price history -> text and chart.

import { Amounts } from "./amounts.js";
import { Announcer } from "./announcer.js";
import { StreamClient } from "./client.js";
import { date, dates, duration, instant, time, useUTC } from "./format.js";
import { listenToGestures } from "./gestures.js";
import { PriceHistory, load, loadDay, loadHistory, loadSince } from "./history.js";
import { listenToKeys } from "./keys.js";
import { say, useLanguage } from "./language.js";
import { loadLast, storeLast } from "./last.js";
import { SPANS, dropSettings, keepLink, linkTo, nameOf, rangeOf, readLink, share, spanOf } from "./link.js";
import { Pace } from "./pace.js";
import { onSystemColors, readColors } from "./palette.js";
import { byId, closeTipsOnEscape, showChange, showEstimate, showHint, showNotice, showSnapshot, showState, showTitle, write } from "./panel.js";
import { DAY, Past } from "./past.js";
import { savePicture } from "./picture.js";
import { Plot } from "./plot.js";
import { Points } from "./points.js";
import { Reading } from "./reading.js";
import { applyLink, applyTheme, onSetting, settings, showSettings } from "./settings.js";
import { hintOf, isSure, stateOf } from "./state.js";
import { Table } from "./table.js";
import { View } from "./view.js";

const HOUR = 3600;
const GAP = 30; // seconds without a snapshot, after which the missed history is fetched
const DESCRIBE_INTERVAL = 10_000; // ms
const RETRY = 5000; // ms until what the operator says is asked for again
const SETTLE = 300; // ms after the last move of a view until it is loaded and in the address bar

const points = new Points();
const priceHistory = new PriceHistory();
const past = new Past(loadHistory, () => {
  describedAt = 0;
  redraw();
});
const view = new View();
restore();

const plot = new Plot(byId("chart"), points, priceHistory, past, view);
const reading = new Reading(plot, () => client.snapshot?.price ?? 0, () => amounts.find());
const amounts = new Amounts(points, () => reading.lacksAmount && client.phase === "open", () => reading.amountsChanged());
const table = new Table(/** @type {HTMLTableElement} */ (byId("table")), points, async () => {
  if (client.phase === "open") await amounts.update();
});
const announcer = new Announcer();
const client = new StreamClient();
const pace = new Pace();
const last = loadLast(); // of an earlier visit
/** @type {boolean | null} */ let replay = null; // whether the transactions are recorded ones; null: not known yet
const stateNow = () => stateOf(client, {
  now: Date.now(), secondsLeft: pace.secondsLeft, online: navigator.onLine, lastAt: last?.timestamp ?? 0,
});

/** Applies the settings and the range of the link. */
function restore() {
  const link = readLink();
  applyLink(link);
  showSettings();
  useUTC(settings.zone === "utc");
  applyTheme();
  readColors();
  view.follow(spanOf(link));
  const range = rangeOf(link);
  if (range) view.choose(range);
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

/** Runs what can wait when the browser is idle, after two seconds at the latest. @param {() => void} run */
const afterPaint = (run) => ("requestIdleCallback" in window ? requestIdleCallback(run, { timeout: 2000 }) : setTimeout(run, 500));

const redraw = perFrame(() => draw(true));

/** A paused chart is not redrawn. */
const drawSnapshot = perFrame(() => draw(!view.paused));

let pictured = false;

/** Draws the price, and the chart; the first time, which costs most, a frame after the price. @param {boolean} withChart */
function draw(withChart) {
  drawText();
  if (!withChart) return;
  if (pictured || !client.snapshot) return drawChart();
  pictured = true;
  requestAnimationFrame(drawChart);
}

function drawText() {
  const s = client.snapshot;
  if (!s) return;
  showSnapshot(s, replay === true);
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
  if (dayAsked && !settling) plot.load();
  showRange();
  reading.place();
  if (Date.now() - describedAt < DESCRIBE_INTERVAL) return;
  describedAt = Date.now();
  byId("chart").setAttribute("aria-label", plot.describe(s));
}

/** @type {NodeListOf<HTMLButtonElement>} */
const rangeButtons = document.querySelectorAll("#ranges button");

/** Updates the buttons and the range. */
function showView() {
  describedAt = 0;
  byId("pause").setAttribute("aria-pressed", String(view.paused));
  if (view.following && document.activeElement === byId("follow")) byId("chart").focus({ preventScroll: true });
  byId("follow").hidden = view.following || view.paused;
  const name = view.following ? nameOf(view.span) ?? "" : null;
  for (const button of rangeButtons) button.setAttribute("aria-pressed", String(button.value === name));
  showRange();
}

/** Shows what the range is, if that is not obvious, and what it lacks. */
function showRange() {
  const { from, to } = view.range;
  const chosen = view.following ? "" : say(view.paused ? "rangePaused" : "rangeChosen", { range: rangeWords(from, to) });
  write("range", [chosen, lackWords()].filter(Boolean).join(" "));
  byId("of-points").hidden = plot.lineOnly;
  byId("of-line").hidden = !plot.lineOnly;
  write("chart-title", say(plot.lineOnly ? "lineTitle" : "pointsTitle"));
  byId("of-log").hidden = !plot.log;
}

/** @param {number} from @param {number} to */
function rangeWords(from, to) {
  if (to - from > 2 * DAY) return dates(from, to);
  const word = from > view.limits.now - 12 * HOUR ? time : instant;
  return `${word(from)} – ${word(to)}`;
}

function lackWords() {
  if (past.state === "failed") return say("historyFailed");
  if (past.state === "loading") return say("loading");
  const { now, begin } = view.limits;
  if (!view.isCut) return "";
  return now - begin < 2 * DAY ? say("historyBeginsAgo", { ago: duration(now - begin) }) : say("historyBeginsOn", { date: date(begin) });
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;

/** @param {() => void} change of the view */
function changeView(change) {
  if (view.range.to <= view.range.from) return; // not drawn yet
  change();
  showView();
  redraw();
  clearTimeout(settling);
  settling = setTimeout(settle, SETTLE);
}

function settle() {
  clearTimeout(settling);
  settling = undefined;
  keepLink(view);
  if (dayAsked) plot.load();
}

/** Shows a newest range. @param {number} span see View */
function follow(span) {
  view.follow(span);
  showView();
  redraw();
  settle();
}

const zoomAt = (/** @type {number} */ factor, /** @type {number} */ at) => changeView(() => view.zoom(factor, at));
const goLive = () => follow(0);
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
byId("pause").addEventListener("click", () => {
  if (view.paused) return follow(view.span);
  if (view.range.to > view.range.from) view.pause();
  showView();
});
for (const button of rangeButtons) button.addEventListener("click", () => follow(SPANS.get(button.value) ?? 0));
byId("show-table").addEventListener("click", () => {
  table.toggle(client.snapshot?.price ?? 0);
  byId("show-table").setAttribute("aria-expanded", String(table.shown));
});
byId("export").addEventListener("click", () => {
  const s = client.snapshot;
  if (!s || !(s.price > 0)) return showMessage(say("noPriceToSave"));
  savePicture(plot, s, pictureWords());
  showMessage(say("imageSaved"));
});

/** The state as an image says it, which has no page around it. */
function pictureWords() {
  const { words, advice } = stateNow();
  return [words, advice, replay ? say("basisReplay") : ""].filter(Boolean).join(". ");
}

byId("permalink").addEventListener("click", async () => {
  showMessage(await share(linkTo(view, { theme: settings.theme, zone: settings.zone })));
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
  evidence?.draw();
  alerts?.show();
  table.refresh(client.snapshot?.price ?? 0);
  showView();
  redraw();
}

onSetting(async (name) => {
  dropSettings([name]);
  if (name === "language") await useLanguage(settings.language);
  repaint();
});
addEventListener("languagechange", async () => {
  await useLanguage(settings.language);
  repaint();
});
onSystemColors(repaint);
closeTipsOnEscape();
addEventListener("hashchange", () => {
  clearTimeout(settling);
  settling = undefined;
  restore();
  useLanguage(settings.language).then(repaint);
});
new ResizeObserver(([{ contentRect }]) => {
  plot.chart.resize(contentRect.width, contentRect.height);
  drawChart(); // at once, as resizing cleared the canvas; the browser calls this once a frame
}).observe(plot.host);

/** Updates what also changes without a snapshot: the state, the title and the announcements. */
function tick() {
  const state = stateNow();
  showState(state);
  showHint(hintOf(client, state, pace.secondsLeft), client.snapshot);
  if (!client.snapshot && last && ["reconnecting", "offline", "refused", "closed"].includes(state.name)) showEstimate(last, true);
  showTitle(client.snapshot, state);
  const news = announcer.next(client.snapshot, state, Date.now());
  if (news) write("announcer", news);
}

/** Shows what the operator says of the edge. One that was restarted may say something else. */
async function fetchAbout() {
  const about = await load("api/v1/about");
  if (!about && replay === null) setTimeout(fetchAbout, RETRY); // until it is known, no alert is checked
  if (!about) return;
  replay = about.replay === true;
  showNotice(about.notice ?? "");
  drawSnapshot();
}

/** @type {import("./evidence.js").Evidence | undefined} */ let evidence;
/** @type {import("./alerts.js").Alerts | undefined} */ let alerts;

/** Loads what is below the chart, when the first picture is drawn. */
async function loadRest() {
  if (evidence) return;
  try {
    const [{ Evidence }, { Alerts }] = await Promise.all([import("./evidence.js"), import("./alerts.js")]);
    evidence ??= new Evidence((density) => {
      plot.density = density;
      redraw();
    });
    alerts ??= new Alerts(() => replay === true);
    navigator.serviceWorker?.register("sw.js").catch(() => {}); // without it, there is no page without network
  } catch {
    // The edge went away: the next connection tries again.
  }
}

let dayLoaded = false;
let dayAsked = false;

/** @param {import("./history.js").Entry[]} entries */
function mergeHistory(entries) {
  priceHistory.merge(entries);
  describedAt = 0;
  redraw();
}

async function fetchDay() {
  dayLoaded = await loadDay(mergeHistory);
  dayAsked = true;
  redraw();
}

/** @param {import("./client.js").Snapshot} s */
function addSnapshot(s) {
  pace.add(s);
  const first = points.length === 0;
  points.update(s.transactions);
  if (first) amounts.update(); // an edge has them for a short time only
  if (!(s.price > 0)) return;
  const before = priceHistory.length > 0 ? priceHistory.time(priceHistory.length - 1) : s.timestamp;
  priceHistory.add(s.timestamp, s.price, s.low, s.high);
  if (s.timestamp - before > GAP) loadSince(before, mergeHistory);
  if (s.status === "stale") return;
  evidence?.update(s);
  if (s.status === "contested" || !isSure(s) || replay !== false) return;
  storeLast(s);
  alerts?.check(s.price, s.timestamp);
}

client.addEventListener("snapshot", () => {
  if (client.snapshot) addSnapshot(client.snapshot);
  tick();
  drawSnapshot();
});
client.addEventListener("phase", () => {
  tick();
  if (client.phase !== "open") return;
  fetchAbout();
  afterPaint(loadRest);
  if (!dayLoaded) fetchDay();
});
setInterval(tick, 250); // so that seconds count evenly and silence is detected in time
showView();
useLanguage(settings.language).then(repaint);
client.start();
