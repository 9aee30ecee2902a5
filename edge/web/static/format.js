// @ts-check
// Values as text, in the reader's language and with digits as in the locale.

import { onLanguage, say } from "./language.js";

export const NONE = "–";

/** @type {string | undefined} the browser's */ let locale;
let utc = false;
let numbers = numberFormats();
let times = timeFormats();

onLanguage((tag) => {
  if (tag === locale) return;
  locale = tag;
  numbers = numberFormats();
  times = timeFormats();
});

function numberFormats() {
  const usd = /** @type {const} */ ({ style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" });
  /** @param {Intl.NumberFormatOptions} [o] */
  const format = (o) => new Intl.NumberFormat(locale, o);
  return {
    exact: format(usd),
    whole: format({ ...usd, maximumFractionDigits: 0 }),
    percent: format({ style: "percent", maximumFractionDigits: 1 }),
    signed: format({ style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" }),
    numeral: format(),
    decimal: format({ minimumFractionDigits: 1, maximumFractionDigits: 1 }),
  };
}

/** Shows times in UTC, or in the reader's time zone. @param {boolean} inUTC */
export function useUTC(inUTC) {
  if (inUTC === utc) return;
  utc = inUTC;
  times = timeFormats();
}

function timeFormats() {
  /** @param {Intl.DateTimeFormatOptions} o */
  const format = (o) => new Intl.DateTimeFormat(locale, utc ? { ...o, timeZone: "UTC" } : o);
  return {
    minutes: format({ timeStyle: "short" }),
    seconds: format({ timeStyle: "medium" }),
    exact: format({ hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 }),
    day: format({ day: "numeric", month: "short" }),
    instant: format({ dateStyle: "medium", timeStyle: "medium" }),
    minute: format({ dateStyle: "medium", timeStyle: "short" }),
    date: format({ dateStyle: "medium" }),
    month: format({ month: "short" }),
    year: format({ year: "numeric" }),
    dateUTC: new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }),
  };
}

/** Seconds that UTC is ahead of the displayed time zone. @param {number} t unix */
export const zoneOffset = (t) => (utc ? 0 : new Date(t * 1000).getTimezoneOffset() * 60);

/** Without cents from 100 USD on. @param {number} price */
export const dollars = (price) => (price >= 100 ? numbers.whole : numbers.exact).format(price);

/** @param {number} price */
export const cents = (price) => numbers.exact.format(price);

/** A round amount: with cents only if it is not whole. @param {number} amount */
export const rounded = (amount) => (Number.isInteger(amount) ? numbers.whole : numbers.exact).format(amount);

/** @param {number} price with cents, in parts */
export const dollarParts = (price) => numbers.exact.formatToParts(price);

/** @param {number} n */
export const integer = (n) => numbers.numeral.format(n);

/** With one decimal. @param {number} n */
export const decimal = (n) => numbers.decimal.format(n);

/** Nothing is certain, so never 100%. @param {number} p */
export const probability = (p) => numbers.percent.format(Math.min(p, 0.999));

/** A signed percentage. @param {number} share */
export const change = (share) => numbers.signed.format(share);

/** @param {number} p */
export function confidenceWord(p) {
  if (p >= 0.95) return say("veryHigh");
  if (p >= 0.8) return say("high");
  if (p >= 0.5) return say("fair");
  return say("low");
}

/** Its two largest units, such as 3 h 12 min. @param {number} seconds */
export function duration(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const [s, m, h, d] = [all % 60, Math.floor(all / 60) % 60, Math.floor(all / 3600) % 24, Math.floor(all / 86400)];
  if (all < 60) return say("seconds", { s });
  if (all < 3600) return say("minutes", { m, s });
  if (all < 86400) return say("hours", { h, m });
  return say("days", { d: integer(d), h });
}

/** A number of units, in full words. @param {number} n @param {"hour" | "day" | "month"} unit */
export const unitsOf = (n, unit) => new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(n);

/** A forecast, no more precise than it can be. @param {number} seconds */
export function roughly(seconds) {
  const minutes = Math.ceil(seconds / 60);
  if (minutes <= 1) return say("underMinute");
  return minutes < 90 ? say("aboutMinutes", { n: minutes }) : say("aboutHours", { n: integer(Math.round(minutes / 60)) });
}

/**
 * The time without AM and PM, for labels of a few hours at most.
 * @param {number} t unix @param {boolean} exactly
 */
export function clock(t, exactly) {
  const parts = (exactly ? times.seconds : times.minutes).formatToParts(t * 1000);
  return parts.filter((p) => p.type !== "dayPeriod").map((p) => p.value).join("").trim();
}

/** The time in the reader's format, AM and PM included. @param {number} t unix */
export const hour = (t) => times.minutes.format(t * 1000);

/** The time to the second. @param {number} t unix */
export const time = (t) => withZone(times.seconds.format(t * 1000));

/** The time to the millisecond, which distinguishes payments of one second. @param {number} t unix */
export const moment = (t) => withZone(times.exact.format(t * 1000));

/** Date and time. @param {number} t unix */
export const instant = (t) => withZone(times.instant.format(t * 1000));

/** @param {number} t unix */
export const day = (t) => times.day.format(t * 1000);

/** @param {number} t unix */
export const month = (t) => times.month.format(t * 1000);

/** @param {number} t unix */
export const year = (t) => times.year.format(t * 1000);

/** Date and time to the minute. @param {number} t unix */
export const minute = (t) => withZone(times.minute.format(t * 1000));

/** A day with its year. @param {number} t unix */
export const date = (t) => times.date.format(t * 1000);

/** From one day to another, what they share once. @param {number} from unix @param {number} to unix */
export const dates = (from, to) => times.date.formatRange(from * 1000, to * 1000);

/** The day in UTC, as candles have it, with its year. @param {number} t unix */
export const dateUTC = (t) => times.dateUTC.format(t * 1000);

/** @param {string} text */
const withZone = (text) => (utc ? `${text} UTC` : text);
