// What stands around every stage: the brand, the languages, the way so far, who one is, the way out, the connection.
//
//   const frame = new Frame((message) => connection.send(message));
//   frame.languages({ en: "English", zh: "中文" });  frame.way(way);  frame.connection("lost");

import { element } from "./element.js";
import { language, say } from "./texts.js";

const NOTE_MS = 8000;
const at = (id) => document.getElementById(id);

export class Frame {
  #send;
  #connection = "connecting";

  constructor(send) {
    this.#send = send;
    at("leave").addEventListener("click", () => at("leaving").showModal());
    at("leaving").addEventListener("close", () => this.#left());
  }

  /** Draw the switch between languages, where there is more than one. */
  languages(names) {
    const codes = Object.keys(names);
    at("languages").hidden = codes.length < 2;
    at("languages").replaceChildren(...codes.map((code) => this.#language(code, names[code])));
  }

  /** Draw how far somebody has come in a study. */
  way({ stage, stages, title, person, languages }) {
    at("brand").textContent = title;
    document.title = title;
    this.languages(languages);
    at("stages").hidden = stage === "done";
    const now = stages.indexOf(stage === "rest" ? "play" : stage);
    at("stages").replaceChildren(...stages.map((name, place) => step(name, place, now)));
    at("known").textContent = say("way.known", { name: person });
    at("leave").hidden = stage === "consent" || stage === "done";
    at("foot").hidden = false;
  }

  connection(state) {
    this.#connection = state;
    at("connection").dataset.state = state;
    at("connection").textContent = say(`connection.${state}`);
  }

  redraw() {
    this.connection(this.#connection);
  }

  saving({ failing, why }) {
    const strangers = !at("foot").hidden; // in a study: what exactly is wrong is not for them
    at("trouble").hidden = !failing;
    at("trouble").textContent = failing ? say(strangers ? "saving.waits" : "saving.failing", { why }) : "";
  }

  note(text) {
    const note = element("p", "note", text);
    at("notes").append(note);
    setTimeout(() => note.remove(), NOTE_MS);
  }

  #language(code, name) {
    const button = element("button", "language", name);
    button.type = "button";
    button.lang = code;
    button.dataset.language = code;
    button.setAttribute("aria-pressed", String(code === language()));
    button.addEventListener("click", () => {
      document.cookie = `language=${code}; path=/; max-age=31536000; samesite=lax`;
      this.#send({ type: "language", code });
    });
    return button;
  }

  #left() {
    const { returnValue } = at("leaving");
    const keep = new FormData(at("leaving").querySelector("form")).get("what") === "keep";
    if (returnValue === "go") this.#send({ type: "withdraw", keep });
    at("leaving").returnValue = "";
    at("field").focus({ preventScroll: true }); // and not the button that the next key would press again
  }
}

function step(name, place, now) {
  const made = element("li", place < now ? "past" : "", say(`way.${name}`));
  if (place === now) made.setAttribute("aria-current", "step");
  return made;
}
