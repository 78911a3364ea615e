// A study's own texts, as elements: paragraphs, lists ("- "), headings ("# "), **strong**, *stressed*, [links](https://...).
// Made of text nodes only: nothing in a text is ever read as HTML.

import { element } from "./element.js";

const INLINE = /\*\*(.+?)\*\*|\*(.+?)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+|mailto:[^\s)]+)\)/g;

/** Return the elements of a text; lines of a paragraph are joined, blank lines part them. */
export function prose(text) {
  return text.split(/\n\s*\n/).filter((block) => block.trim()).map(block);
}

function block(text) {
  const lines = text.trim().split("\n").map((line) => line.trim());
  if (lines.every((line) => line.startsWith("- "))) {
    const list = element("ul");
    list.append(...lines.map((line) => inline(element("li"), line.slice(2))));
    return list;
  }
  if (lines.length === 1 && lines[0].startsWith("# ")) return inline(element("h2"), lines[0].slice(2));
  return inline(element("p"), lines.reduce(joined));
}

/** Lines of Chinese are joined without a space. */
function joined(first, second) {
  return /[\u3000-\u9fff\uff00-\uffef]$/.test(first) ? first + second : `${first} ${second}`;
}

function inline(parent, text) {
  let offset = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, strong, stressed, name, target] = match;
    parent.append(text.slice(offset, match.index));
    if (strong) parent.append(element("strong", "", strong));
    else if (stressed) parent.append(element("em", "", stressed));
    else parent.append(link(name, target));
    offset = match.index + whole.length;
  }
  parent.append(text.slice(offset));
  return parent;
}

function link(name, target) {
  const created = element("a", "", name);
  created.href = target;
  created.target = "_blank";
  created.rel = "noopener noreferrer";
  return created;
}
