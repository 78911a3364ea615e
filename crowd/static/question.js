// What a page asks for outside of its picture: an option of a list, or several; a date, a time, a text.
//
//   const question = new Question((text) => ...);   // the answer
//   question.ask({ tag, value, options, chosen, several });

import { byId, element } from "./element.js";
import { say } from "./texts.js";


export class Question {
  #answer;

  constructor(answer) {
    this.#answer = answer;
    byId("asking-no").addEventListener("click", () => byId("asking").close(""));
    byId("asking").addEventListener("close", () => this.#closed());
  }

  ask(asked) {
    const list = asked.tag === "SELECT";
    byId("asking-title").textContent = titled(asked);
    byId("asking-body").className = list ? "options" : "";
    byId("asking-body").replaceChildren(...(list ? asked.options.map((text, place) => option(asked, text, place)) : [field(asked)]));
    byId("asking-yes").hidden = list && !asked.several;
    byId("asking").returnValue = "";
    byId("asking").showModal();
    byId("asking-body").querySelector("[aria-current], input")?.focus();
    byId("asking-body").querySelector("input[type=text]")?.select();
  }

  /** Whatever was asked, there is nobody to answer to. */
  forget() {
    if (byId("asking").open) byId("asking").close("");
  }

  #closed() {
    const { returnValue } = byId("asking");
    const filled = [...new FormData(byId("asking-form")).getAll("what")];
    if (returnValue === "go") this.#answer(filled.join(", "));
    else if (returnValue.startsWith("option ")) this.#answer(returnValue.slice("option ".length));
    byId("field").focus({ preventScroll: true });
  }
}

function titled({ tag, several }) {
  if (tag === "SELECT") return say(several ? "ask.several" : "ask.one");
  if (tag === "INPUT_date") return say("ask.date");
  if (tag === "INPUT_time") return say("ask.time");
  return say("ask.text");
}

function option({ chosen, several }, text, place) {
  const isChosen = chosen.includes(place);
  if (several) {
    const label = element("label", "option");
    const box = element("input");
    Object.assign(box, { type: "checkbox", name: "what", value: text, checked: isChosen });
    label.append(box, element("span", "", text));
    return label;
  }
  const button = element("button", "option", text || "–");
  button.value = `option ${text}`;
  if (isChosen) button.setAttribute("aria-current", "true");
  return button;
}

function field({ value }) {
  const input = element("input", "text");
  Object.assign(input, { type: "text", name: "what", value, maxLength: 200, autocomplete: "off", spellcheck: false });
  input.autocapitalize = "off";
  input.setAttribute("aria-labelledby", "asking-title");
  return input;
}
