// @ts-check
// Values in words and digits, the digits as the reader's locale writes them.

const usd = /** @type {const} */ ({ style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" });
const exact = new Intl.NumberFormat(undefined, usd);
const whole = new Intl.NumberFormat(undefined, { ...usd, maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const numeral = new Intl.NumberFormat();
const minutes = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const NONE = "–";

/** Without cents, unless bitcoin is as cheap as it once was. @param {number} price */
export const dollars = (price) => (price >= 100 ? whole : exact).format(price);

/** @param {number} price with cents, in parts */
export const dollarParts = (price) => exact.formatToParts(price);

/** @param {number} n */
export const integer = (n) => numeral.format(n);

/** Nothing is certain, so never 100%. @param {number} p */
export const probability = (p) => percent.format(Math.min(p, 0.999));

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

/** A reader's clock, without AM and PM: it labels a few hours at most. @param {number} t unix @param {boolean} exactly */
export function clock(t, exactly) {
  const parts = (exactly ? seconds : minutes).formatToParts(t * 1000);
  return parts.filter((p) => p.type !== "dayPeriod").map((p) => p.value).join("").trim();
}
