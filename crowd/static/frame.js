// What stands around every stage: the brand, the languages, the way so far, who one is, the way out, the connection.
//
//   const frame = new Frame((message) => connection.send(message));
//   frame.languages({ en: "English", zh: "中文" });  frame.way(way);  frame.connection("lost");

import { byId, element } from "./element.js";
import { language, say } from "./texts.js";

const NOTE_MS = 8000;

export class Frame {
  #send;
  #connection = "connecting";

  constructor(send) {
    this.#send = send;
    byId("leave").addEventListener("click", () => byId("leaving").showModal());
    byId("leaving").addEventListener("close", () => this.#left());
  }

  /** Draw the switch between languages, where there is more than one. */
  languages(names) {
    const codes = Object.keys(names);
    byId("languages").hidden = codes.length < 2;
    byId("languages").replaceChildren(...codes.map((code) => this.#language(code, names[code])));
  }

  /** Draw how far somebody has come in a study. */
  way({ stage, stages, title, person, languages }) {
    byId("brand").textContent = title;
    document.title = title;
    this.languages(languages);
    byId("stages").hidden = stage === "done";
    const now = stages.indexOf(stage === "rest" ? "play" : stage);
    byId("stages").replaceChildren(...stages.map((name, place) => step(name, place, now)));
    byId("known").textContent = say("way.known", { name: person });
    byId("leave").hidden = stage === "consent" || stage === "done";
    byId("foot").hidden = false;
  }

  connection(state) {
    this.#connection = state;
    byId("connection").dataset.state = state;
    byId("connection").textContent = say(`connection.${state}`);
  }

  redraw() {
    this.connection(this.#connection);
  }

  saving({ failing, why }) {
    const strangers = !byId("foot").hidden; // in a study: what exactly is wrong is not for them
    byId("trouble").hidden = !failing;
    byId("trouble").textContent = failing ? say(strangers ? "saving.waits" : "saving.failing", { why }) : "";
  }

  note(text) {
    const note = element("p", "note", text);
    byId("notes").append(note);
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
    const { returnValue } = byId("leaving");
    const keep = new FormData(byId("leaving").querySelector("form")).get("what") === "keep";
    if (returnValue === "go") this.#send({ type: "withdraw", keep });
    byId("leaving").returnValue = "";
    byId("field").focus({ preventScroll: true }); // and not the button that the next key would press again
  }
}

function step(name, place, now) {
  const created = element("li", place < now ? "past" : "", say(`way.${name}`));
  if (place === now) created.setAttribute("aria-current", "step");
  return created;
}
