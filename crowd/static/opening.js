// What is being opened while it is not there yet: its name at once, a bar when it takes longer, how far it has come.
//
//   const opening = new Opening(() => view.opening());   // is called when a page of its own is wanted
//   opening.begin("Goto local", true);                    // something was asked for; true: show its name at once
//   opening.progress({ done: 120, of: 600 });             // the server tells how far it is
//   opening.lost();                                       // the connection is gone: the picture stands still
//   opening.end();                                        // it is there

import { byId } from "./element.js";
import { say } from "./texts.js";

const SLOW_MS = 150;

export class Opening {
  #cover;
  #timer = 0;
  #name = "";
  #told = { done: 0, of: 0 };
  #isSlow = false;
  #isLost = false;
  #spoken = "";

  constructor(cover) {
    this.#cover = cover;
  }

  get isOn() {
    return this.#timer !== 0;
  }

  begin(name, atOnce = false) {
    this.end();
    this.#name = name;
    this.#timer = setTimeout(() => this.#slow(), SLOW_MS);
    if (atOnce) this.#draw();
  }

  progress({ done, of }) {
    this.#isLost = false;
    this.#told = { done, of };
    if (!this.isOn) this.#timer = setTimeout(() => this.#slow(), SLOW_MS);
    if (this.#isSlow) this.#draw();
  }

  lost() {
    if (this.#isLost) return;
    this.begin("");
    this.#isLost = true;
  }

  end() {
    clearTimeout(this.#timer);
    [this.#timer, this.#isSlow, this.#isLost, this.#spoken] = [0, false, false, ""];
    this.#told = { done: 0, of: 0 };
    byId("veil").hidden = true;
    byId("opening").dataset.slow = false;
  }

  #slow() {
    this.#isSlow = true;
    this.#draw();
  }

  /** Over the picture where there is one, which stands still meanwhile; else on a page of its own. */
  #draw() {
    const covers = !byId("play").hidden && !byId("field").hidden;
    if (this.#isLost && !covers) return; // the top of the page says it
    if (!covers) this.#cover();
    byId("veil").hidden = !covers;
    const [title, bar] = covers ? [byId("veil-text"), byId("veil-progress")] : [byId("opening-title"), byId("opening-progress")];
    const text = this.#text();
    title.textContent = this.#name && !covers ? this.#name : text;
    byId("opening-text").textContent = this.#name ? text : "";
    byId("opening").dataset.slow = this.#isSlow;
    if (this.#told.done) [bar.max, bar.value] = [this.#told.of, this.#told.done];
    else bar.removeAttribute("value");
    this.#speak([this.#name, this.#told.of ? "" : text].filter(Boolean).join(`${say("stop")} `));
  }

  #text() {
    if (this.#isLost) return say("connection.lost");
    if (this.#told.of) return say("opening.step", { step: this.#told.done, of: this.#told.of });
    return say(this.#name ? "opening.opens" : "opening.moment");
  }

  #speak(text) {
    if (text === this.#spoken || !text) return;
    this.#spoken = text;
    byId("announcer").textContent = text;
  }
}
