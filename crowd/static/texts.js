// Every sentence of the pages, in the language that the server chose; nothing is said anywhere else.
//
//   say("play.step", { step: 3, limit: 64 });       // the number called n chooses among plural forms
//   speak({ language: "zh", page: {...} });         // another language from now on
//   fill(document);                                 // what stands in the page itself: data-text, data-label

let texts = JSON.parse(document.getElementById("texts")?.textContent ?? '{"language":"en","page":{}}');
let plurals = new Intl.PluralRules(texts.language);

export const language = () => texts.language;

export function speak(message) {
  texts = message;
  plurals = new Intl.PluralRules(message.language);
  document.documentElement.lang = message.language;
  fill(document);
}

export function say(key, values = {}) {
  const phrase = texts.page[key] ?? key;
  const text = typeof phrase === "string" ? phrase : (phrase[plurals.select(values.n ?? 0)] ?? phrase.other);
  return text.replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces);
}

export function fill(page) {
  for (const node of page.querySelectorAll("[data-text]")) node.textContent = say(node.dataset.text);
  for (const node of page.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
}
