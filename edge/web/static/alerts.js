// @ts-check
// Alerts for a price that is crossed, kept in this browser. They work while the page is open. This module is loaded after
// the first picture.

import { dollars, instant } from "./format.js";
import { say } from "./language.js";
import { byId, write } from "./panel.js";

/**
 * @typedef {object} Alert
 * @property {number} price USD
 * @property {boolean} above whether the price was above it when it was set
 * @property {number} [crossedAt] unix seconds; the alert is over then
 */

const NAME = "sightglass.alerts"; // all sites of a host share its storage
const SOUND = "sightglass.sound";
const MOST = 20;
const MAX_PRICE = 1e9; // USD
const ICON = "icon-192.png";

/**
 * The price that a reader typed, in any of the usual forms: 100000, 100,000.50, 100.000,50, 1,00,000; NaN if it is none.
 * @param {string} text
 */
export function parsePrice(text) {
  const plain = text.normalize("NFKC").replace(/\p{Nd}/gu, digitOf).replace(/٬/g, ",").replace(/٫/g, ".").replace(/[\s$’'\p{Cf}]/gu, "");
  const [, whole, cents = ""] = plain.match(/^([1-9]\d{0,2}(?:[.,]\d{2,3})*[.,]\d{3}|\d+)(?:[.,](\d{1,2}))?$/) ?? [];
  const price = Number(`${whole?.replace(/[.,]/g, "")}.${cents || 0}`);
  return price > 0 && price <= MAX_PRICE ? price : NaN;
}

/** The value of a decimal digit of any script, whose ten digits follow one another. @param {string} digit */
function digitOf(digit) {
  let zero = digit.codePointAt(0) ?? 0;
  while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1)) && (digit.codePointAt(0) ?? 0) - zero < 9) zero--;
  return String((digit.codePointAt(0) ?? 0) - zero);
}

/**
 * The alerts that a price crosses. They are over after it.
 * @param {Alert[]} alerts @param {number} price USD @param {number} now unix seconds
 */
export function crossed(alerts, price, now) {
  const found = alerts.filter((a) => !a.crossedAt && (a.above ? price < a.price : price > a.price));
  for (const alert of found) alert.crossedAt = now;
  return found;
}

/** The stored alerts; null if the storage is blocked. @returns {Alert[] | null} */
function loadAlerts() {
  try {
    const stored = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return stored.filter((/** @type {Alert} */ a) => a.price > 0 && typeof a.above === "boolean").slice(0, MOST);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string} value */
function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is blocked: it lasts as long as the page.
  }
}

export class Alerts {
  #alerts = loadAlerts() ?? [];
  #price = 0; // the newest reliable one
  #input = /** @type {HTMLInputElement} */ (byId("alert-price"));
  #sound = /** @type {HTMLInputElement} */ (byId("alert-sound"));
  /** @type {AudioContext | null} */ #audio = null;

  /** @param {() => boolean} isReplay whether the price is not today's */
  constructor(isReplay) {
    this.isReplay = isReplay;
    try {
      this.#sound.checked = localStorage.getItem(SOUND) === "on";
    } catch {
      // Storage is blocked.
    }
    byId("alert-form").addEventListener("submit", (e) => {
      e.preventDefault();
      this.#add();
    });
    this.#sound.addEventListener("change", () => {
      store(SOUND, this.#sound.checked ? "on" : "off");
      if (this.#sound.checked) this.#play(); // so that it is known, and allowed by the browser
    });
    addEventListener("storage", ({ key }) => {
      if (key === NAME) this.#reload(); // another tab has changed them
    });
    for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, () => this.#audio?.resume());
    this.show();
  }

  #reload() {
    this.#alerts = loadAlerts() ?? this.#alerts;
    this.show();
  }

  /** Checks a price, which must be reliable. @param {number} price @param {number} now unix seconds */
  check(price, now) {
    this.#price = price;
    const found = crossed(this.#alerts, price, now);
    if (found.length === 0) return;
    this.#changed();
    for (const alert of found) notify(say("alertsNews", { price: dollars(price) }), textOf(alert), alert);
    write("alert-message", found.map(textOf).join(" "));
    if (this.#sound.checked) this.#play();
  }

  /** Writes the list, as after a change of the language. */
  show() {
    const list = byId("alert-list");
    const focused = [...list.children].findIndex((entry) => entry.contains(document.activeElement));
    list.replaceChildren(...this.#alerts.map((alert) => this.#entry(alert)));
    if (focused >= 0) this.#focus(focused);
  }

  /** @param {Alert} alert */
  #entry(alert) {
    const [entry, button] = [document.createElement("li"), document.createElement("button")];
    entry.append(`${dollars(alert.price)}: ${textOf(alert)} `, button);
    entry.classList.toggle("over", Boolean(alert.crossedAt));
    button.type = "button";
    button.textContent = "×";
    button.setAttribute("aria-label", say("alertsRemove", { price: dollars(alert.price) }));
    button.addEventListener("click", () => {
      const at = this.#alerts.indexOf(alert);
      this.#alerts.splice(at, 1);
      this.#changed();
      this.#focus(at); // the removed one had it
    });
    return entry;
  }

  /** @param {number} i of the alert, or of one that was there */
  #focus(i) {
    const buttons = byId("alert-list").querySelectorAll("button");
    (buttons[Math.min(i, buttons.length - 1)] ?? this.#input).focus();
  }

  async #add() {
    const price = parsePrice(this.#input.value);
    const problem = this.#problem(price);
    this.#input.setAttribute("aria-invalid", String(Number.isNaN(price)));
    write("alert-message", problem);
    if (problem) return this.#input.focus();
    const alert = { price, above: this.#price > price };
    this.#alerts.push(alert);
    this.#changed();
    this.#input.value = "";
    write("alert-message", say("alertsAdded", { alert: textOf(alert) }));
    if (!(await askPermission())) write("alert-message", say("alertsBlocked"));
  }

  /** @param {number} price */
  #problem(price) {
    if (Number.isNaN(price)) return say("alertsInvalid", { value: this.#input.value || "–", example: dollars(this.#price || 100_000) });
    if (this.#alerts.length >= MOST) return say("alertsFull", { most: MOST });
    if (this.isReplay()) return say("alertsNotInReplay");
    return this.#price > 0 ? "" : say("alertsNeedsPrice");
  }

  #changed() {
    store(NAME, JSON.stringify(this.#alerts));
    this.show();
  }

  /** Two short tones, if the browser allows them: some do only after a click. */
  #play() {
    try {
      this.#tones();
    } catch {
      // There is no sound on this device.
    }
  }

  #tones() {
    this.#audio ??= new AudioContext();
    const { currentTime: start, destination } = this.#audio;
    for (const [after, hertz] of [[0, 660], [0.18, 880]]) {
      const [tone, volume] = [this.#audio.createOscillator(), this.#audio.createGain()];
      tone.frequency.value = hertz;
      volume.gain.setValueAtTime(0.15, start + after);
      volume.gain.exponentialRampToValueAtTime(0.001, start + after + 0.16);
      tone.connect(volume).connect(destination);
      tone.start(start + after);
      tone.stop(start + after + 0.17);
    }
  }
}

/** @param {Alert} alert */
function textOf({ price, above, crossedAt }) {
  const values = { price: dollars(price) };
  if (crossedAt) return say(above ? "alertsFell" : "alertsRose", { ...values, time: instant(crossedAt) });
  return say(above ? "alertsAbove" : "alertsBelow", values);
}

/** Asks for notifications, on a reader's action only. Returns whether they are allowed. */
async function askPermission() {
  if (!("Notification" in globalThis)) return false;
  return (Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission) === "granted";
}

/** Shows a notification; several tabs show one. @param {string} title @param {string} body @param {Alert} alert */
async function notify(title, body, alert) {
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
  const options = { body, icon: ICON, tag: `sightglass-${alert.price}` };
  try {
    const worker = await navigator.serviceWorker?.getRegistration();
    if (worker?.active) await worker.showNotification(title, options); // phones have no other way
    else new Notification(title, options);
  } catch {
    // The page shows it, too.
  }
}
