// Lines of a console block that continue a command (`> `, as in a here-document) are part of what is typed: the
// highlighter takes them for output. They look like the rest of the command, and the copy button takes them along.
for (const line of document.querySelectorAll(".highlight .go")) {
  if (!/^> ?/.test(line.textContent)) continue;
  const prompt = document.createElement("span");
  prompt.className = "gp";
  prompt.textContent = line.textContent.match(/^> ?/)[0];
  line.replaceWith(prompt, line.textContent.slice(prompt.textContent.length));
}

// Browsers break lines after hyphens: short code, such as `--check`, stays whole.
for (const code of document.querySelectorAll(":not(pre) > code")) {
  code.classList.toggle("short", code.textContent.length <= 24);
}
