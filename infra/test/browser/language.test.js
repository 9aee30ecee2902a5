// @ts-check
// Tests of the texts: each language has all of them, with the same words in braces, and the pages use each.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";
import { dollars, duration } from "../../../edge/web/static/format.js";
import { LANGUAGES, languageOf, say, useLanguage } from "../../../edge/web/static/language.js";
import english from "../../../edge/web/static/texts/en.js";

/** @typedef {import("../../../edge/web/static/texts/en.js").Text} Text */

const WEB = new URL("../../../edge/web/", import.meta.url);

/** @param {string} name @returns {Promise<Record<string, Text>>} */
const textsOf = async (name) => (await import(new URL(`static/texts/${name}.js`, WEB).href)).default;

/** @param {Text} text */
const formsOf = (text) => (typeof text === "string" ? { other: text } : text);

/** @param {string} text */
const values = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

for (const name of LANGUAGES.keys()) {
  test(`${name} has every text, with the values of the English one`, async () => {
    const texts = await textsOf(name);
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort());
    for (const [key, text] of Object.entries(english)) {
      const want = values(formsOf(text).other ?? "");
      for (const [category, form] of Object.entries(formsOf(texts[key]))) {
        assert.ok(form.trim(), `${key} is empty`);
        assert.deepEqual(values(form), want, `${key}, ${category}`);
      }
    }
  });
}

test("the pages use every text, and only those there are", async () => {
  const scripts = (await readdir(new URL("static/", WEB))).filter((f) => f.endsWith(".js")).map((f) => `static/${f}`);
  const sources = await Promise.all(["index.html", "embed.html", "clock.html", ...scripts].map((f) => readFile(new URL(f, WEB), "utf8")));
  const used = new Set(sources.flatMap((s) => [...s.matchAll(/"(\w+)"/g)].map(([, word]) => word)));
  assert.deepEqual(Object.keys(english).filter((key) => !used.has(key)), []);
  const marked = sources.flatMap((s) => [...s.matchAll(/data-(?:text|label|role)="(\w+)"/g)].map(([, key]) => key));
  const said = sources.flatMap((s) => [...s.matchAll(/\bsay\("(\w+)"/g)].map(([, key]) => key));
  assert.deepEqual([...marked, ...said].filter((key) => !(key in english)), []);
});

test("the markup has the English texts", async () => {
  for (const page of ["index.html", "embed.html", "clock.html"]) {
    const source = await readFile(new URL(page, WEB), "utf8");
    for (const [, key, text] of source.matchAll(/data-text="(\w+)"[^>]*>([^<]*)</g)) {
      assert.equal(text.replace(/\s+/g, " ").trim(), english[/** @type {keyof typeof english} */ (key)], `${page}: ${key}`);
    }
  }
});

test("the reader's choice comes before the browser's languages, and English is left", () => {
  assert.equal(languageOf("ja", ["de-DE"]), "ja");
  assert.equal(languageOf("system", ["de-AT", "en"]), "de");
  assert.equal(languageOf("system", ["fr-FR", "pt-BR", "en"]), "pt");
  assert.equal(languageOf(null, ["fr-FR"]), "en");
  assert.equal(languageOf("../en", []), "en");
  assert.equal(languageOf("system", ["esu", "den", "JA-jp"]), "ja");
});

test("a language has its own plurals, numbers and units", async (t) => {
  t.after(() => useLanguage("en"));
  await useLanguage("de");
  assert.equal(say("peers", { n: "1" }, 1), "1 Peer");
  assert.equal(say("peers", { n: "8" }, 8), "8 Peers");
  assert.equal(dollars(123456.7), "123.457\u00a0$");
  await useLanguage("ja");
  assert.equal(duration(3720), "1時間2分");
});

test("the last choice counts, however long another one takes to load", async () => {
  const slow = useLanguage("pt");
  await useLanguage("en");
  await slow;
  assert.equal(say("live"), "live");
});

test("a value is not read as a pattern", () => {
  assert.equal(say("from", { source: "$& {source}" }), "from $& {source}");
});
