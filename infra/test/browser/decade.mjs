// A history of ten years for the tests: deterministic prices that end at a given one, and the rows of its four series as
// they are in Redis.

const HOUR = 3600;
export const DAY = 24 * HOUR;
export const YEAR = 365.25 * DAY;

/** How far back each series goes, in seconds. */
const REACH = { recent: 2 * DAY, blocks: 30 * DAY, hours: 730 * DAY, days: 10 * YEAR };

/** Times without entries, in seconds before now: of the last week, and of years ago. */
const GAPS = [[4.5 * DAY, 4 * DAY], [3.2 * YEAR, 2.9 * YEAR]];

/** The price at an age, in seconds: waves of all lengths on a rise by a factor of 300 in ten years. */
function shape(age) {
  const years = age / YEAR;
  const wave = (/** @type {number} */ length, /** @type {number} */ height) => height * Math.sin((2 * Math.PI * age) / length + length);
  return Math.exp(-0.6 * years + wave(4 * YEAR, 0.5) + wave(0.9 * YEAR, 0.18) + wave(47 * DAY, 0.07) + wave(9.7 * DAY, 0.03) +
    wave(1.9 * DAY, 0.012) + wave(0.37 * DAY, 0.005) + wave(5100, 0.001) + wave(1300, 0.0006));
}

const cents = (/** @type {number} */ usd) => Math.round(100 * usd) / 100;

/** A number from 0 to 1, the same for the same integer. @param {number} n */
const dice = (n) => ((Math.imul(n ^ (n >>> 15), 0x2c1b3c6d) >>> 0) % 9973) / 9973;

/**
 * The rows of the series, oldest first.
 * @param {number} now unix seconds @param {number} price at the end
 */
export function decade(now, price) {
  const known = (/** @type {number} */ t) => !GAPS.some(([from, to]) => t > now - from && t < now - to);
  const at = (/** @type {number} */ t) => cents((price * shape(now - t)) / shape(0));
  const times = (/** @type {number} */ reach, /** @type {number} */ step) => {
    const found = [];
    for (let t = Math.ceil((now - reach) / step) * step; t < now; t += step) if (known(t)) found.push(t);
    return found;
  };
  const band = (/** @type {number} */ t) => 0.006 + 0.008 * dice(Math.floor(t / 600));
  const row = (/** @type {number} */ t) => [t, at(t), cents(at(t) * (1 - band(t))), cents(at(t) * (1 + band(t))), 0.95];
  const candle = (/** @type {number} */ length) => (/** @type {number} */ start) => {
    const inside = Array.from({ length: 24 }, (_, k) => at(start + (k * length) / 24));
    const spread = 0.002 + 0.02 * dice(start / length) * Math.sqrt(length / DAY);
    return [start, inside[0], cents(Math.max(...inside) * (1 + spread)), cents(Math.min(...inside) * (1 - spread)), inside[23], 0.9, length / 600,
      800_000 - Math.floor((now - start) / 600)];
  };
  return {
    recent: times(REACH.recent, 10).map(row),
    blocks: times(REACH.blocks, 600).map((t) => t + Math.floor(500 * dice(t / 600))).filter(known).map((t) => [...row(t), 800_000 - Math.floor((now - t) / 600)]),
    hours: times(REACH.hours, HOUR).map(candle(HOUR)),
    days: times(REACH.days, DAY).map(candle(DAY)),
  };
}

/**
 * The same as the keys of Redis have it.
 * @param {ReturnType<typeof decade>} rows
 */
export function keysOf({ recent, blocks, hours, days }) {
  const scored = (/** @type {number[][]} */ all, by = 0) => all.map((row) => ({ score: row[by], row }));
  return {
    "sightglass:history": scored(recent), "sightglass:history:blocks": scored(blocks, 5),
    "sightglass:history:hours": scored(hours), "sightglass:history:days": scored(days),
  };
}
