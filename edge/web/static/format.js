// @ts-check
// Values as text, with digits as in the reader's locale.

const usd = /** @type {const} */ ({ style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" });
const exact = new Intl.NumberFormat(undefined, usd);
const whole = new Intl.NumberFormat(undefined, { ...usd, maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat(undefined, {
  style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero",
});
const numeral = new Intl.NumberFormat();
const utcDate = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

export const NONE = "–";

let utc = false;
let times = formatters();

/** Shows times in UTC, or in the reader's time zone. @param {boolean} inUTC */
export function useUTC(inUTC) {
  if (inUTC === utc) return;
  utc = inUTC;
  times = formatters();
}

function formatters() {
  /** @param {Intl.DateTimeFormatOptions} o */
  const format = (o) => new Intl.DateTimeFormat(undefined, utc ? { ...o, timeZone: "UTC" } : o);
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
  };
}

/** Seconds that UTC is ahead of the displayed time zone. @param {number} t unix */
export const zoneOffset = (t) => (utc ? 0 : new Date(t * 1000).getTimezoneOffset() * 60);

/** Without cents from 100 USD on. @param {number} price */
export const dollars = (price) => (price >= 100 ? whole : exact).format(price);

/** @param {number} price */
export const cents = (price) => exact.format(price);

/** A round amount: with cents only if it is not whole. @param {number} amount */
export const rounded = (amount) => (Number.isInteger(amount) ? whole : exact).format(amount);

/** @param {number} price with cents, in parts */
export const dollarParts = (price) => exact.formatToParts(price);

/** @param {number} n */
export const integer = (n) => numeral.format(n);

/** Nothing is certain, so never 100%. @param {number} p */
export const probability = (p) => percent.format(Math.min(p, 0.999));

/** A signed percentage. @param {number} share */
export const change = (share) => signed.format(share);

/** @param {number} p */
export function confidenceWord(p) {
  if (p >= 0.95) return "very high";
  if (p >= 0.8) return "high";
  if (p >= 0.5) return "fair";
  return "low";
}

/** Its two largest units, such as 3 h 12 min. @param {number} seconds */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** A forecast, no more precise than it can be. @param {number} seconds */
export function roughly(seconds) {
  const minutes = Math.ceil(seconds / 60);
  if (minutes <= 1) return "less than a minute";
  return minutes < 90 ? `about ${minutes} minutes` : `about ${integer(Math.round(minutes / 60))} hours`;
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
export const dateUTC = (t) => utcDate.format(t * 1000);

/** @param {string} text */
const withZone = (text) => (utc ? `${text} UTC` : text);
