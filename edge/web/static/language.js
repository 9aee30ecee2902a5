// @ts-check
// The pages' texts in the reader's language. English is always there; another language is loaded when it is chosen.

import english from "./texts/en.js";

/** @typedef {typeof english} Texts @typedef {keyof Texts} Key */

/** The languages, by their own names. */
export const LANGUAGES = new Map([
  ["en", "English"], ["de", "Deutsch"], ["es", "Español"], ["ja", "日本語"], ["pt", "Português"],
]);

/** @type {Texts} */ let texts = english;
let plural = new Intl.PluralRules("en");
let shown = "en"; // as the markup has it
let calls = 0; // of useLanguage: the last one counts, however long another takes to load
/** @type {((locale: string | undefined) => void)[]} */ const listeners = [];

/** Calls back with each new locale for numbers and times; undefined is the browser's. @param {(locale: string | undefined) => void} use */
export const onLanguage = (use) => listeners.push(use);

/**
 * Loads a language; anything else than one of them stands for the browser's. If it cannot be loaded, the texts stay as they
 * are.
 * @param {string | null} chosen
 */
export async function useLanguage(chosen) {
  const preferred = globalThis.navigator?.languages ?? [];
  const name = languageOf(chosen, preferred);
  const call = ++calls;
  try {
    const loaded = name === "en" ? english : (await import(`./texts/${name}.js`)).default;
    if (call !== calls) return;
    texts = loaded;
  } catch {
    return; // without network: the next choice tries again
  }
  plural = new Intl.PluralRules(name);
  translate(name);
  const locale = preferred.find((tag) => languageIn(tag) === name) ?? (chosen === name ? name : undefined);
  for (const use of listeners) use(locale);
}

/** The language of a tag such as de-AT. @param {string} tag */
const languageIn = (tag) => tag.split("-")[0].toLowerCase();

/** The language to use. @param {string | null} chosen @param {readonly string[]} preferred by the browser, best first */
export function languageOf(chosen, preferred) {
  return [chosen ?? "", ...preferred].map(languageIn).find((name) => LANGUAGES.has(name)) ?? "en";
}

/** Writes the texts of the markup. @param {string} name of the language */
function translate(name) {
  if (name === shown || !globalThis.document) return;
  shown = document.documentElement.lang = name;
  /** @type {NodeListOf<HTMLElement>} */
  const marked = document.querySelectorAll("[data-text], [data-label], [data-role]");
  for (const node of marked) {
    const { text, label, role } = /** @type {Record<string, Key | undefined>} */ (node.dataset);
    if (text) node.textContent = say(text);
    if (label) node.setAttribute("aria-label", say(label));
    if (role) node.setAttribute("aria-roledescription", say(role));
  }
}

/**
 * A text.
 * @param {Key} key
 * @param {Record<string, string | number>} [values] for the words in braces
 * @param {number} [count] by which the plural form is chosen
 */
export function say(key, values, count = 0) {
  const text = texts[key] ?? english[key];
  const forms = /** @type {Partial<Record<Intl.LDMLPluralRule, string>>} */ (text);
  const form = typeof text === "string" ? text : (forms[plural.select(count)] ?? forms.other ?? "");
  return values ? form.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all)) : form;
}
