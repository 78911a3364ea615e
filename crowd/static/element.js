// Elements of the page: one by its id, and a new one in a line: element("p", "quiet", "Some text").

export const byId = (id) => document.getElementById(id);

export function element(name, className = "", text = "") {
  const created = document.createElement(name);
  if (className) created.className = className;
  if (text) created.textContent = text;
  return created;
}
