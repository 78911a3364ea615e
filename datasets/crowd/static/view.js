// Draws what the server last said. Holds no rules: all it knows is in the `state` message.
//
//   const view = new View(keys, (message) => connection.send(message));
//   view.state(message); view.step(12); view.saved(11);

import { dimCaps, drawCaps, lightCaps } from "./controls.js";
import { figures, keyCap, keySpoken, sentence, title } from "./names.js";
import { drawPicker, element, introduction } from "./picker.js";

const NOTE_MS = 8000;
const CHOICES = {
  keep: { label: "Keep", codes: ["KeyK", "Enter"] },
  discard: { label: "Discard", codes: ["KeyX"] },
  redo: { label: "Redo", codes: ["KeyR"] },
  undo: { label: "Undo discard", codes: ["KeyU"] },
  pause: { label: "Pause", codes: ["Escape"] },
  leave: { label: "Tasks", codes: ["Escape"] },
};

const at = (id) => document.getElementById(id);

export class View {
  #keys;
  #send;
  #state = null;
  #spoken = "";

  constructor(keys, send) {
    this.#keys = keys;
    this.#send = send;
    at("curtain").addEventListener("click", () => send({ type: "go" }));
    keys.addEventListener("down", ({ detail }) => lightCaps(at("caps"), detail.code, true));
    keys.addEventListener("up", ({ detail }) => lightCaps(at("caps"), detail.code, false));
    keys.addEventListener("release", () => dimCaps(at("caps")));
  }

  state(state) {
    const before = this.#state;
    this.#state = state;
    document.body.dataset.phase = state.phase;
    document.title = `${state.suite} · Tutelage`;
    at("suite").textContent = state.suite;
    at("pages").replaceChildren(...state.pages.map(link));
    at("picker").hidden = state.episode !== null;
    at("play").hidden = state.episode === null;
    at("elsewhere").hidden = true;
    if (state.episode === null) this.#drawPicker(state, before);
    else this.#drawEpisode(state, before);
  }

  step(step) {
    const { episode } = this.#state;
    episode.step = step;
    at("step").textContent = `Step ${step} of ${episode.limit}`;
    at("progress").max = episode.limit;
    at("progress").value = step;
  }

  saved(saved) {
    const { episode } = this.#state;
    episode.saved = saved;
    at("saved").textContent = saved === 0 ? "Saved" : `Saved to step ${saved}`;
    at("saved").dataset.saved = saved;
  }

  saving({ failing, why }) {
    at("trouble").hidden = !failing;
    at("trouble").textContent = failing ? `Saving is failing (${why}). Play waits; nothing that was saved is lost.` : "";
  }

  connection(state) {
    const words = { connecting: "Connecting", open: "Connected", lost: "Connection lost, trying again", replaced: "Open elsewhere" };
    at("connection").dataset.state = state;
    at("connection").textContent = words[state];
    if (state === "replaced") {
      for (const id of ["picker", "play"]) at(id).hidden = true;
      at("elsewhere").hidden = false;
    }
  }

  note(text) {
    const note = element("p", "note", text);
    at("notes").append(note);
    setTimeout(() => note.remove(), NOTE_MS);
  }

  #drawPicker(state, before) {
    at("intro").textContent = introduction(state);
    at("name").textContent = state.demonstrator;
    drawPicker(at("tasks"), state, (task) => this.#send({ type: "choose", task }));
    if (before?.episode) at("picker-title").focus();
  }

  #drawEpisode(state, before) {
    const { phase, episode } = state;
    if (before?.episode?.id !== episode.id) this.#newEpisode(episode, before);
    const number = episode.target === null ? `demonstration ${episode.number}` : `demonstration ${episode.number} of ${episode.target}`;
    at("count").textContent = episode.attempt > 1 ? `${number}, try ${episode.attempt}` : number;
    at("instruction").textContent = sentence(episode.instruction);
    this.step(episode.step);
    this.saved(episode.saved);
    this.#drawCurtain(phase, episode);
    at("controls").hidden = episode.outcome !== null;
    at("outcome").hidden = episode.outcome === null;
    if (episode.outcome) this.#drawOutcome(episode.outcome);
    at("choices").replaceChildren(...choicesOf(state).map((name) => this.#choice(name, phase)));
  }

  #newEpisode(episode, before) {
    at("task").textContent = title(episode.task);
    drawCaps(at("caps"), episode.controls, this.#keys);
    if (!before?.episode) at("field").focus({ preventScroll: true });
    this.#say(`${sentence(episode.instruction)}. ${episode.controls.map(({ codes, label }) => `${codes.map(keySpoken).join(" and ")}: ${label}`).join(", ")}.`);
  }

  #drawCurtain(phase, episode) {
    const waits = phase === "ready" || phase === "paused";
    at("curtain").hidden = !waits;
    if (!waits) return;
    const begun = phase === "paused" || episode.step > 0;
    const text = begun ? "Paused" : "Press any key to start";
    at("curtain-text").textContent = text;
    at("curtain-hint").textContent = begun ? "Press any key to go on" : "It starts at once";
    this.#say(begun ? `${text}. Press any key to go on.` : text);
  }

  #drawOutcome(outcome) {
    const verdict = outcome.success ? "Success" : "Not this time";
    at("outcome").dataset.success = outcome.success;
    at("verdict").textContent = outcome.success ? `✓ ${verdict}` : verdict;
    at("figures").textContent = figures(outcome);
    this.#say(`${verdict}. ${figures(outcome)}.`);
  }

  #choice(name, phase) {
    const { label, codes } = CHOICES[name];
    const button = element("button", name === "keep" ? "choice primary" : "choice");
    button.type = "button";
    button.dataset.choice = name;
    button.append(element("span", "", this.#wording(name, phase, label)));
    if (!this.#keys.codes.has(codes[0])) button.append(element("kbd", "", keyCap(codes[0])));
    button.setAttribute("aria-keyshortcuts", codes.map((code) => keyCap(code)).join(" "));
    button.addEventListener("click", () => {
      this.#send({ type: name });
      at("field").focus({ preventScroll: true });
    });
    return button;
  }

  #wording(name, phase, label) {
    if (name === "keep" && this.#state.baseline) return "Next";
    if (name === "discard" && this.#state.baseline) return "Give up";
    return name === "redo" && phase !== "finished" ? "Start over" : label;
  }

  /** Announce something once, to those who listen instead of look. */
  #say(text) {
    if (text === this.#spoken) return;
    this.#spoken = text;
    at("announcer").textContent = text;
  }
}

/** The keys that mean a command now. */
export function commandsOf(state) {
  return Object.fromEntries(choicesOf(state).flatMap((name) => CHOICES[name].codes.map((code) => [code, name])));
}

/** What can be done now; in the middle of real time one pauses first, and leaves then. */
function choicesOf({ phase, episode, choices }) {
  const rushed = phase === "playing" && episode.fps !== null;
  return rushed ? ["pause", ...choices.filter((name) => name !== "leave")] : choices;
}

function link({ path, title: text }) {
  const made = element("a", "", text);
  made.href = path;
  return made;
}
