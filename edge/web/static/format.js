// @ts-check
// Values in words and digits, the digits as the reader's locale writes them.

const whole = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD" });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const numeral = new Intl.NumberFormat();

export const NONE = "–";

/** @param {number} usd */
export const dollars = (usd) => whole.format(usd);

/** @param {number} usd with cents, in parts */
export const dollarParts = (usd) => exact.formatToParts(usd);

/** @param {number} n */
export const integer = (n) => numeral.format(n);

/** Nothing is certain, so no rounding to 100 %. @param {number} p */
export function probability(p) {
  return p > 0.999 ? `over ${percent.format(0.999)}` : percent.format(p);
}

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
