// @ts-check
// The course that the edge remembers.

/** @typedef {import("./course.js").Entry} Entry */

const FINE = 3600; // seconds that are asked for in full
const COARSE_STEP = 60;

/**
 * A day of it, or more if the reader looks farther back: at first a point a minute, which is soon there, then the last
 * hour in full.
 * @param {number} from unix seconds; 0: a day ago, by the edge's clock
 * @param {(entries: Entry[]) => void} take called twice
 * @returns {Promise<boolean>} whether it is there
 */
export async function loadDay(from, take) {
  const day = await loadCourse(from > 0 ? `from=${Math.floor(from)}&step=${COARSE_STEP}` : `step=${COARSE_STEP}`);
  if (!day) return false;
  take(day);
  if (day.length > 0) await loadSince(day[day.length - 1][0] - FINE, take);
  return true;
}

/** @param {number} from unix seconds @param {(entries: Entry[]) => void} take */
export async function loadSince(from, take) {
  const entries = await loadCourse(`from=${Math.max(0, Math.floor(from))}`);
  if (entries) take(entries);
}

/** @param {string} query @returns {Promise<Entry[] | null>} */
const loadCourse = (query) => load(`api/v1/history?${query}`);

/**
 * The points of an answer; null if there is none.
 * @param {string} path of the edge's API, relative to the page
 * @returns {Promise<any[] | null>}
 */
export async function load(path) {
  try {
    const answer = await fetch(path);
    return answer.ok ? (await answer.json()).points : null;
  } catch {
    return null; // the stream's state already tells that the edge does not answer
  }
}
