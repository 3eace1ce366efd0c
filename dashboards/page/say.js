// Texts of the page: all from the one catalogue, served beside this file.

const KEY = "tianlu.lang";
let texts = {};
let lang = "zh";

/** Loads the texts and decides the language: the address, what was chosen before, the reader's browser, Chinese. */
export async function loadTexts() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, remembered(), ...navigator.languages].map((name) => (name || "").slice(0, 2).toLowerCase());
  lang = wanted.find((name) => name === "zh" || name === "en") || "zh";
  if (asked) remember(lang);
  const answer = await fetch(new URL("./texts.json", import.meta.url));
  texts = await answer.json();
}

/** Returns a text in the reader's language, its places filled. */
export function say(key, args) {
  const found = texts[key];
  if (!found) return key;
  const text = found[lang === "zh" ? 0 : 1];
  return args ? text.replace(/\{(\w+)\}/g, (place, name) => (name in args ? args[name] : place)) : text;
}

/** Returns a text whose key is composed of data, or `otherwise`. */
export const sayKnown = (key, otherwise) => (Object.hasOwn(texts, key) ? say(key) : otherwise);

export const language = () => lang;
export const locale = () => (lang === "zh" ? "zh-CN" : "en-GB");

/** Returns the side of `{zh, en}` that the reader wants. */
export const choose = (both) => (both ? both[lang] || both.zh || both.en || "" : "");

export function setLanguage(wanted) {
  lang = wanted;
  remember(wanted);
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // Storage may be forbidden; the page works without.
  }
}

function remember(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // As above.
  }
}
