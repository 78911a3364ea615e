// What a person writes about an episode: a note, tags, the mark for removal. Saved by itself; says so when it is on disk.
//
//   const annotation = new Annotation((episode, { note, tags, marked }) => ...);   // is told what was saved
//   annotation.show(episode);
//   await annotation.leave();   // saves what is not saved yet; → whether that worked

import { byId } from "./element.js";

const PAUSE_MS = 800;


export class Annotation {
  #saved;
  #episode = null;
  #now = null; // as it is on disk
  #timer = null;
  #queue = Promise.resolve(true);

  constructor(saved) {
    this.#saved = saved;
    byId("mark").addEventListener("click", () => this.toggleMark());
    for (const id of ["note", "tags"]) {
      byId(id).addEventListener("input", () => this.#soon());
      byId(id).addEventListener("change", () => this.leave());
    }
    byId("annotation").addEventListener("submit", (event) => {
      event.preventDefault();
      this.leave();
    });
    window.addEventListener("beforeunload", (event) => this.#changes() && event.preventDefault());
  }

  show({ episode, note, tags, marked }) {
    this.#episode = episode;
    this.#now = { note, tags, marked };
    byId("note").value = note;
    byId("tags").value = tags.join(", ");
    this.#draw();
    this.#say("", false);
  }

  toggleMark() {
    if (this.#episode) this.#save({ marked: !this.#now.marked });
  }

  /** Save what was typed; resolves when that is done, to whether everything is on disk. */
  leave() {
    clearTimeout(this.#timer);
    const changes = this.#changes();
    if (changes) this.#save(changes);
    return this.#queue;
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#say("…", false);
    this.#timer = setTimeout(() => this.leave(), PAUSE_MS);
  }

  /** What was typed and is not on disk; null for nothing. */
  #changes() {
    if (!this.#now) return null;
    const tags = [...new Set(byId("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean))].sort();
    const changes = {};
    if (byId("note").value !== this.#now.note) changes.note = byId("note").value;
    if (tags.join("\n") !== [...this.#now.tags].sort().join("\n")) changes.tags = tags;
    return Object.keys(changes).length ? changes : null;
  }

  #save(changes) {
    const episode = this.#episode;
    this.#queue = this.#queue.then(() => this.#send(episode, changes));
    return this.#queue;
  }

  async #send(episode, changes) {
    const body = JSON.stringify({ episode, ...changes });
    try {
      const response = await fetch("/annotate", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
      const now = await response.json();
      this.#saved(episode, now);
      if (episode !== this.#episode) return true;
      this.#now = now;
      this.#draw();
      this.#say("Saved", false);
      return true;
    } catch (error) {
      if (episode === this.#episode) this.#say(`Not saved: ${error instanceof TypeError ? "the server does not answer" : error.message}`, true);
      return false;
    }
  }

  #draw() {
    byId("mark").setAttribute("aria-pressed", this.#now.marked);
    byId("mark").textContent = this.#now.marked ? "Marked for removal" : "Mark for removal";
  }

  #say(words, isWrong) {
    byId("saved").textContent = words;
    byId("saved").dataset.wrong = isWrong;
  }
}
