// The list of a store's episodes: conditions, order, a page at a time, moved through by mouse, touch and keys.
//
//   const list = new List((episode) => ..., (error) => ...);   // is told what is opened, and what fails
//   await list.refresh();
//   list.move(1); list.current(episode); list.annotated(episode, { tags, marked, note });

import { byId, element } from "./element.js";
import { count, seconds } from "./format.js";
import { plural, title } from "./names.js";

const OUTCOME_CLASSES = { true: "good", false: "bad" };
const TYPED_MS = 200;
const CONDITIONS = ["text", "task", "by", "outcome", "tag", "order"];
const CHOICES = { task: ["tasks", title], by: ["people", String], tag: ["tags", String] };


/** Return the word for how an episode went: that it was not rated where its task has no success rule. */
export function outcome(success) {
  return { true: "Success", false: "Failure" }[success] ?? "Not rated";
}

export class List {
  #open;
  #failed;
  #rows = [];
  #total = 0;
  #current = null;
  #timer = null;
  #asked = 0;
  #drawn = Promise.resolve(); // kept when what was asked for last is drawn

  constructor(open, failed) {
    this.#open = open;
    this.#failed = failed;
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("text").addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.refresh(), TYPED_MS);
    });
    for (const name of [...CONDITIONS.slice(1), "only-marked"]) byId(name).addEventListener("change", () => this.refresh());
    byId("more").addEventListener("click", () => this.#more());
    byId("rows").addEventListener("click", ({ target }) => {
      const row = target.closest(".row");
      if (row) this.#open(row.dataset.episode);
    });
    byId("rows").addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!by || !event.target.matches(".row")) return;
      event.preventDefault();
      const next = event.target.parentElement[by > 0 ? "nextElementSibling" : "previousElementSibling"];
      next?.firstElementChild.focus();
    });
  }

  /** Ask for the episodes that fit, from the first on. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = null;
    return (this.#drawn = this.#readFirst());
  }

  async #readFirst() {
    const read = await this.#ask(0);
    if (!read) return;
    this.#rows = read.rows;
    this.#drawHead(read);
    byId("rows").replaceChildren(...read.rows.map((row) => this.#item(row)));
    this.#drawFoot();
  }

  /** Open the next or the previous episode of the list, with the conditions as they stand now. */
  async move(by) {
    if (this.#timer) this.refresh();
    await this.#drawn;
    const now = this.#rows.findIndex(({ episode }) => episode === this.#current);
    const next = now < 0 ? 0 : now + by;
    if (next >= this.#rows.length && this.#rows.length < this.#total) await this.#more();
    const row = this.#rows[next];
    if (!row) return;
    this.#open(row.episode);
  }

  /** Show which episode is open. */
  current(episode) {
    this.#current = episode;
    for (const row of byId("rows").querySelectorAll(".row")) this.#turn(row);
    this.#button(episode)?.scrollIntoView({ block: "nearest" });
  }

  /** Draw what was written about an episode. */
  annotated(episode, now) {
    const row = this.#rows.find((listed) => listed.episode === episode);
    if (!row) return;
    const change = Number(now.marked) - Number(row.marked);
    Object.assign(row, now);
    const [old, hadFocus] = [this.#button(episode), this.#button(episode) === document.activeElement];
    old?.parentElement.replaceWith(this.#item(row));
    if (hadFocus) this.#button(episode).focus();
    if (change) this.#drawMarked(Number(byId("marked").dataset.count) + change);
    for (const tag of now.tags) if (![...byId("tag").options].some(({ value }) => value === tag)) byId("tag").append(new Option(tag, tag));
  }

  focus() {
    (this.#button(this.#current) ?? byId("rows").querySelector(".row") ?? byId("text")).focus();
  }

  async #more() {
    const read = await this.#ask(this.#rows.length);
    if (!read) return;
    this.#rows.push(...read.rows);
    byId("rows").append(...read.rows.map((row) => this.#item(row)));
    this.#drawFoot();
  }

  async #ask(first) {
    const query = new URLSearchParams({ first });
    for (const name of CONDITIONS) if (byId(name).value) query.set(name, byId(name).value);
    if (byId("only-marked").checked) query.set("marked", "1");
    const asked = (this.#asked += 1);
    try {
      const response = await fetch(`/episodes?${query}`);
      if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
      const read = await response.json();
      return asked === this.#asked ? read : null;
    } catch (error) {
      this.#failed(error);
      return null;
    }
  }

  #drawHead(read) {
    this.#total = read.total;
    byId("store").textContent = read.store;
    if (!document.title.includes("seed")) document.title = `${read.store} · Tutelage`;
    this.#drawMarked(read.marked);
    byId("found").textContent = read.total === read.all ? plural(read.all, "episode") : `${count(read.total)} of ${plural(read.all, "episode")}`;
    for (const [id, [name, write]] of Object.entries(CHOICES)) {
      const chosen = byId(id).value;
      byId(id).replaceChildren(new Option("All", ""), ...read[name].map((value) => new Option(write(value), value)));
      byId(id).value = read[name].includes(chosen) ? chosen : "";
    }
  }

  #drawMarked(marked) {
    byId("marked").dataset.count = marked;
    byId("marked").textContent = marked ? `${marked} marked for removal` : "";
  }

  #drawFoot() {
    byId("more").hidden = this.#rows.length >= this.#total;
  }

  #button(episode) {
    return [...byId("rows").querySelectorAll(".row")].find((row) => row.dataset.episode === episode);
  }

  #item(row) {
    const item = element("li");
    const button = element("button", "row");
    button.type = "button";
    button.dataset.episode = row.episode;
    button.dataset.marked = row.marked;
    const under = element("span", "under", `${row.demonstrator} · ${plural(row.steps, "step")} · ${seconds(row.seconds)}`);
    button.append(element("b", "", `${title(row.task)} · ${row.seed}`), element("span", OUTCOME_CLASSES[row.success] ?? "quiet", outcome(row.success)), under);
    if (row.marked || row.tags.length || row.note) button.append(chips(row));
    this.#turn(button);
    item.append(button);
    return item;
  }

  #turn(button) {
    if (button.dataset.episode === this.#current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function chips({ marked, tags, note }) {
  const line = element("span", "under");
  if (marked) line.append(element("span", "chip removal", "Marked"));
  for (const tag of tags) line.append(element("span", "chip", tag));
  if (note) line.append(note.length > 90 ? `${note.slice(0, 90)}…` : note);
  return line;
}
