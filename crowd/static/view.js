// Draws what the server last said. Holds no rules: all it knows is in the `state` and `way` messages.
//
//   const view = new View(keys, hands, (message) => asks.ask(message), (name) => ...);   // the last: a choice
//   view.state(message); view.way(message); view.step(12); view.saved(11);

import { Clock } from "./clock.js";
import { dimCaps, drawCaps, lightCaps } from "./controls.js";
import { byId } from "./element.js";
import { figures, keyCap, keysSpoken, number, sentence, title } from "./names.js";
import { choicesOf, codesOf, wording } from "./options.js";
import { drawOutcome } from "./outcome.js";
import { drawPicker, element, introduction } from "./picker.js";
import { isTouch, onPointerChange } from "./pointer.js";
import { language, say } from "./texts.js";
import { bonusSoFar, drawStage, practiceCount } from "./way.js";

const MANY = 8; // controls, from which on they are drawn smaller
const SECTIONS = ["picker", "play", "way", "opening", "elsewhere"];

export class View {
  enter = null; // what the Enter key means at a stage that is not play
  #keys;
  #hands;
  #send;
  #choose;
  #failure = null; // which task could not be opened, and why
  #clock = new Clock(byId("clock"));
  #state = null;
  #way = null;
  #shown = "";
  #before = ""; // the section that was there before something was opened
  #drawn = ""; // the stage as it was last drawn
  #spoken = "";
  #caps = "";

  constructor(keys, hands, send, choose) {
    this.#keys = keys;
    this.#hands = hands;
    this.#send = send;
    this.#choose = choose;
    byId("curtain").addEventListener("click", () => choose("go"));
    onPointerChange(() => this.#state?.episode && this.#drawCurtain(this.#state.phase, this.#state.episode));
    keys.addEventListener("down", ({ detail }) => lightCaps(byId("caps"), detail.code, true));
    keys.addEventListener("up", ({ detail }) => lightCaps(byId("caps"), detail.code, false));
    keys.addEventListener("release", () => dimCaps(byId("caps")));
  }

  state(state) {
    const before = this.#state;
    this.#state = state;
    if (state.study) return; // its way follows, and tells the rest
    document.body.dataset.phase = state.phase;
    document.title = `${state.suite} · ${say("brand")}`;
    byId("suite").textContent = state.suite;
    byId("pages").hidden = state.pages.length === 0;
    byId("pages").replaceChildren(...state.pages.map(link));
    this.#show(state.episode === null ? "picker" : "play");
    if (state.episode === null) this.#drawPicker(state, before);
    else this.#drawEpisode(state, before?.episode?.id !== state.episode.id);
  }

  /** Draw the stage of a study that `way` tells of; `state`, which came before it, has the episode. */
  way(way) {
    const isNew = this.#way?.episode?.id !== this.#state.episode?.id;
    this.#way = { ...way, episode: this.#state.episode };
    document.body.dataset.phase = this.#state.phase;
    document.body.dataset.stage = way.stage;
    const plays = way.waiting === null && (way.stage === "practice" || way.stage === "play");
    this.#clock.set(way.secondsLeft ?? null, way.runs ?? false);
    byId("bonus").textContent = bonusSoFar(way);
    byId("bonus").hidden = !way.bonus;
    if (plays && this.#state.episode) this.#playing(isNew);
    else if (plays && way.outcome) this.#over(way);
    else this.#stage(way);
  }

  step(step) {
    const { episode } = this.#state;
    episode.step = step;
    byId("step").textContent = say("play.step", { step, limit: episode.limit });
    byId("step").dataset.step = step;
    byId("progress").max = episode.limit;
    byId("progress").value = step;
  }

  /** A picture is drawn: on a page that was loaded anew at an outcome it comes after the words. */
  pictured() {
    if (this.#drawn === "outcome") byId("field").hidden = false;
  }

  saved(saved) {
    const { episode } = this.#state;
    episode.saved = saved;
    byId("saved").textContent = saved === 0 ? say("play.saved") : say("play.saved-to", { step: saved });
    byId("saved").dataset.saved = saved;
  }

  /** Another page has this seat: this one has lost it ("replaced"), or did not get it ("occupied"). */
  elsewhere(why) {
    this.#show("elsewhere");
    document.body.dataset.phase = why;
    byId("elsewhere-title").textContent = say(`elsewhere.${why}`);
    byId("elsewhere-why").textContent = say(`elsewhere.${why}-why`);
    byId("here").textContent = say(`elsewhere.${why}-here`);
    byId("elsewhere-title").focus();
  }

  /** What is wanted next is not there yet. */
  opening() {
    if (this.#shown !== "opening") this.#before = this.#shown;
    if (this.#show("opening")) byId("opening-title").focus();
  }

  /** Nothing is opened after all: what was there before is there again. */
  opened() {
    if (this.#shown === "opening" && this.#before) this.#show(this.#before);
  }

  /** A task could not be opened: said where it stands in the list, until another is chosen. */
  failed(task, text) {
    this.#failure = { task, text };
    if (this.#state?.episode !== null || this.#state.study) return; // the list comes, and tells
    this.#drawTasks(this.#state);
  }

  /** Say everything again, in another language. */
  redraw() {
    this.#drawn = "";
    this.#spoken = "";
  }

  #show(id) {
    for (const section of SECTIONS) byId(section).hidden = section !== id;
    const before = this.#shown;
    this.#shown = id;
    return before !== id;
  }

  #drawPicker(state, before) {
    byId("intro").textContent = introduction(state);
    byId("name").textContent = say("picker.known", { name: state.demonstrator });
    this.#drawTasks(state);
    if (before?.episode && !this.#failure) byId("picker-title").focus();
  }

  #drawTasks(state) {
    const choose = (task) => {
      if (!this.#send({ type: "choose", task })) return;
      this.#failure = null;
    };
    drawPicker(byId("tasks"), state, choose, this.#failure);
    if (this.#failure) byId("tasks").querySelector(`[data-task="${CSS.escape(this.#failure.task)}"]`)?.focus();
  }

  #playing(isNew) {
    this.enter = null;
    this.#drawn = "";
    this.#show("play");
    this.#drawEpisode(this.#state, isNew);
    const way = this.#way;
    const practises = way.stage === "practice";
    byId("aside").hidden = !(practises && way.until === "success");
    byId("aside").textContent = say("practice.until-success");
    byId("count").textContent = practises ? practiceCount(way) : say("episode.count", way);
  }

  /** A study's episode is over: how it went, and one way on. */
  #over(way) {
    const isNew = this.#show("play") || this.#drawn !== "outcome";
    this.#drawn = "outcome";
    this.enter = { type: "next" };
    const announcement = drawOutcome(way, () => this.#send({ type: "next" }));
    if (isNew) byId(byId("field").hidden ? "verdict" : "field").focus({ preventScroll: true });
    this.#say(announcement);
  }

  #stage(way) {
    const { title: heading, body, enter } = drawStage(way, this.#send);
    this.enter = enter;
    const key = JSON.stringify([way, heading]);
    const isNew = this.#show("way");
    if (key === this.#drawn) return; // what somebody has filled in stays
    const moved = isNew || JSON.parse(this.#drawn || "[null]")[0]?.stage !== way.stage;
    this.#drawn = key;
    byId("way-title").textContent = heading;
    byId("way-body").replaceChildren(...body);
    if (moved) byId("way-title").focus();
  }

  #drawEpisode(state, isNew) {
    const { phase, episode } = state;
    if (isNew) this.#newEpisode(episode);
    this.#drawCaps(episode);
    byId("field").classList.toggle("hands", episode.hands);
    byId("task").textContent = state.study ? "" : `${title(episode.name)} · `;
    byId("count").textContent = counted(episode);
    byId("instruction").textContent = sentence(episode.instruction);
    this.step(episode.step);
    this.saved(episode.saved);
    this.#drawCurtain(phase, episode);
    byId("caps").classList.toggle("many", episode.controls.length > MANY);
    byId("field").hidden = byId("meter").hidden = false;
    byId("controls").hidden = episode.outcome !== null;
    byId("outcome").hidden = episode.outcome === null;
    if (episode.outcome) this.#drawOutcome(episode.outcome);
    byId("choices").replaceChildren(...choicesOf(state).map((name) => this.#choice(name, phase)));
  }

  #newEpisode(episode) {
    byId("field").focus({ preventScroll: true });
    const keys = episode.controls.map(({ codes, label }) => `${keysSpoken(codes)}: ${label}`).join(", ");
    this.#say(`${sentence(episode.instruction)}${say("stop")} ${episode.hands ? handsHint() : keys + say("stop")}`);
  }

  /** A cap that is held must stay where it is, or the finger on it is never seen to leave. */
  #drawCaps({ controls, hands }) {
    const caps = JSON.stringify([controls, hands, language(), isTouch() && hands]);
    if (caps === this.#caps) return;
    this.#caps = caps;
    if (hands) byId("caps").replaceChildren(element("p", "quiet", handsHint()), this.#waiting());
    else drawCaps(byId("caps"), controls, this.#keys);
  }

  /** A page's time stands still until something is done. */
  #waiting() {
    const button = element("button", "choice", say("play.wait"));
    button.type = "button";
    button.addEventListener("click", () => {
      this.#hands.tell("wait");
      byId("field").focus({ preventScroll: true });
    });
    return button;
  }

  #drawCurtain(phase, episode) {
    const waits = phase === "ready" || phase === "paused";
    byId("curtain").hidden = !waits;
    if (!waits) return;
    const begun = phase === "paused" || episode.step > 0;
    const touch = isTouch();
    const paused = say(this.#way?.idle ? "episode.idle" : "play.paused");
    const [text, hint] = begun
      ? [paused, say(touch ? "play.tap-to-go-on" : "play.press-to-go-on")]
      : [say(touch ? "play.tap-to-start" : "play.press-to-start"), say("play.starts")];
    byId("curtain-text").textContent = text;
    byId("curtain-hint").textContent = hint;
    this.#say(begun ? `${text}${say("stop")} ${hint}${say("stop")}` : text);
  }

  #drawOutcome(outcome) {
    const unrated = outcome.success === null; // the task has no success rule: its return says how it went
    const verdict = unrated ? finished(outcome) : say(outcome.success ? "play.success" : "play.failure");
    byId("outcome").dataset.success = outcome.success;
    byId("verdict").textContent = outcome.success ? `✓ ${verdict}` : verdict;
    const values = figures(unrated ? { ...outcome, return: undefined } : outcome);
    byId("figures").textContent = values;
    byId("better").hidden = true;
    this.#say(`${verdict}${say("stop")} ${values}${say("stop")}`);
  }

  #choice(name, phase) {
    const codes = codesOf(name);
    const button = element("button", name === "keep" ? "choice primary" : "choice");
    button.type = "button";
    button.dataset.choice = name;
    button.append(element("span", "", wording(name, this.#state, phase)));
    const isKey = !this.#keys.codes.has(codes[0]) && codes[0] in this.#keys.commands;
    if (isKey) button.append(element("kbd", "", keyCap(codes[0])));
    if (isKey) button.setAttribute("aria-keyshortcuts", codes.map((code) => code.replace(/^Key/, "")).join(" "));
    button.addEventListener("click", () => {
      byId("field").focus({ preventScroll: true });
      this.#choose(name);
    });
    return button;
  }

  /** Announce something that is not drawn anew. */
  announce(text) {
    this.#say(text);
  }

  /** Announce something once, to those who listen instead of look. */
  #say(text) {
    if (text === this.#spoken) return;
    this.#spoken = text;
    byId("announcer").textContent = text;
  }
}

function finished({ return: value }) {
  const parts = [say("episode.finished"), value !== null && say("figures.return", { value: number(value) })];
  return parts.filter(Boolean).join(" · ");
}

function handsHint() {
  const touch = isTouch();
  return say(touch ? "play.touch-hands" : "play.hands");
}

function counted({ number, target, attempt }) {
  const what = say(target === null ? "play.demonstration" : "play.demonstration-of", { number, target });
  return attempt > 1 ? say("play.try", { what, attempt }) : what;
}

function link({ path, title: text }) {
  const created = element("a", "", text);
  created.href = path;
  return created;
}
