// The picture of one person: live as they see it, or an episode played again.
//
//   const player = new Player();
//   player.replay(admin, episode);   // fetches it and plays it when it has come
//   player.open(told, film);         // an episode of a store: `film` fetches pictures when they are wanted
//   player.watch(person);            // live, until stop()
//   player.stop();

import { byId } from "./element.js";
import { number, sentence, title } from "./names.js";
import { readMessage, unpackFrame } from "./protocol.js";
import { Stage } from "./stage.js";

const SPEEDS = [1, 2, 4, 16];
const FASTEST_MS = 30;
const LONGEST_MS = 2000; // nobody wants to watch somebody think for longer
const AGAIN_MS = 2000;
const CLOSED = { 4003: "You are signed out.", 4004: "Nobody of that name is here." };


export class Player {
  #stage;
  #episode = null;
  #frames = [];
  #moment = 0;
  #speed = 1;
  #timer = null;
  #socket = null;
  #loading = null;
  #film = null;
  #moved;

  /** `moved` is told each moment that is sought. */
  constructor(moved = () => {}) {
    this.#moved = moved;
    this.#stage = new Stage(byId("picture"), (frame) => this.#shown(frame));
    byId("play").addEventListener("click", () => this.toggle());
    byId("back").addEventListener("click", () => this.step(-1));
    byId("on").addEventListener("click", () => this.step(1));
    byId("scrub").addEventListener("input", () => this.#seek(Number(byId("scrub").value)));
    byId("speed").addEventListener("click", () => this.#turnSpeed());
    this.#label();
  }

  get live() {
    return this.#socket !== null;
  }

  /** Show nothing any more. */
  stop() {
    this.#pause();
    this.#loading?.abort();
    this.#socket?.close();
    this.#film?.close();
    [this.#socket, this.#loading, this.#film, this.#episode, this.#frames] = [null, null, null, null, []];
    this.#moment = 0;
    byId("screen").dataset.shows = "nothing";
    byId("player").hidden = true;
    this.#say("", "", "");
    byId("screen-note").textContent = "";
  }

  /** See what a person sees, now and until stopped. */
  watch(person) {
    this.stop();
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/admin/watch/${encodeURIComponent(person)}`;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    byId("screen").dataset.shows = "live";
    byId("screen-note").textContent = "Waiting for a picture";
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket === socket) this.#mirror(data);
    });
    socket.addEventListener("close", ({ code }) => {
      if (this.#socket !== socket) return;
      byId("screen-note").textContent = CLOSED[code] ?? "The connection was lost; trying again";
      if (!(code in CLOSED)) setTimeout(() => this.#socket === socket && this.watch(person), AGAIN_MS);
    });
    this.#say("Live", "", "");
  }

  #mirror(data) {
    if (typeof data !== "string") return this.#stage.show(unpackFrame(data));
    const message = readMessage(data);
    if (message === null) return;
    if (message.type === "away") byId("screen-note").textContent = "No open page on this server just now";
    if (message.type === "state") {
      byId("screen-note").textContent = "";
      const { episode, phase } = message;
      this.#stage.atlas(episode?.atlas ?? message.atlas);
      this.#say("Live", episode ? sentence(episode.instruction) : title(phase ?? ""), episode ? `step ${episode.step} of ${episode.limit} · ${phase}` : "");
    }
    if (message.type === "step") this.#count(message.step);
  }

  #count(step) {
    byId("moment").textContent = byId("moment").textContent.replace(/^step \d+/, `step ${step}`);
  }

  #shown(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "shown", frame }));
    if (!this.#socket) return;
    byId("screen-note").textContent = "";
    this.#count(frame); // a picture says which step gave it
  }

  /** Play an episode again: it is shown as its pictures come, and can be moved through meanwhile. */
  async replay(admin, episode) {
    this.stop();
    byId("screen").dataset.shows = "replay";
    byId("screen-note").textContent = "Playing it again on the server";
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    try {
      const reader = await admin.open(`/admin/replay/${encodeURIComponent(episode)}`, signal);
      for await (const part of partsOf(reader)) this.#take(part);
    } catch (error) {
      if (!signal.aborted) byId("screen-note").textContent = `It cannot be shown: ${error.message}`;
    }
  }

  /** Show an episode whose pictures `film` fetches when they are wanted; null where there are none. */
  open(update, film) {
    this.stop();
    this.#episode = update;
    this.#film = film;
    byId("screen").dataset.shows = film ? "replay" : "facts";
    this.#stage.atlas(update.atlas);
    byId("player").hidden = false;
    byId("scrub").max = update.actions.length;
    film?.attach((number, data) => this.#came(number, data));
    this.#seek(0);
  }

  #came(number, data) {
    this.#frames[number] = data;
    if (number === this.#moment) this.#stage.show({ ...unpackFrame(data), number });
  }

  #take({ kind, data }) {
    if (kind === FRAME) {
      this.#frames.push(data.byteLength ? data : this.#frames.at(-1));
      byId("scrub").max = this.#frames.length - 1;
      if (this.#frames.length === 1) this.#seek(0);
      else if (this.#timer === null && this.#moment === 0 && this.#frames.length === 2) this.toggle();
      return;
    }
    const update = readMessage(new TextDecoder().decode(data));
    if (update === null) return;
    if (update.type === "episode") {
      this.#episode = update;
      this.#stage.atlas(update.atlas);
      byId("player").hidden = false;
      byId("screen-note").textContent = "";
      this.#say(`Replay: ${title(update.task)}, seed ${update.seed}`, "", "");
    } else if (update.why) byId("screen-note").textContent = update.why;
  }

  get moment() {
    return this.#moment;
  }

  /** Go to the state after so many steps. */
  seek(moment) {
    this.#pause();
    this.#seek(moment);
  }

  #seek(moment) {
    if (!this.#episode || !(this.#frames.length || this.#isFree)) return;
    const last = this.#isFree ? this.#episode.actions.length : this.#frames.length - 1;
    this.#moment = Math.max(0, Math.min(moment, last));
    const frame = this.#frames[this.#moment];
    if (frame) this.#stage.show({ ...unpackFrame(frame), number: this.#moment });
    this.#film?.want(this.#moment, this.#frames, this.#timer !== null);
    this.#moved(this.#moment);
    const { actions, rewards, times, instruction } = this.#episode;
    const action = this.#moment ? actions[this.#moment - 1] : sentence(instruction);
    const given = this.#moment ? rewards[this.#moment - 1] : 0;
    const reward = given === 0 ? "" : ` · reward ${number(given)}`;
    const words = `step ${this.#moment} of ${actions.length}${reward} · ${((times[this.#moment - 1] ?? 0) / 1000).toFixed(1)}\u2009s`;
    this.#say(null, action, words);
    byId("scrub").value = this.#moment;
    byId("scrub").setAttribute("aria-valuetext", `${words}: ${action}`);
  }

  /** Whether every moment can be sought, since its picture is fetched when it is wanted. */
  get #isFree() {
    return this.#film !== null || byId("screen").dataset.shows === "facts";
  }

  step(by) {
    this.#pause();
    this.#seek(this.#moment + by);
  }

  toggle() {
    if (this.#timer !== null) return this.#pause();
    if (this.#moment >= (this.#episode?.actions.length ?? 0)) this.#seek(0);
    this.#tick();
  }

  /** Wait as long as the person did, at the speed chosen; or for the next picture to come. */
  #tick() {
    if (!this.#episode || this.#moment >= this.#episode.actions.length) return this.#pause();
    const [before, after] = [this.#moment ? this.#episode.times[this.#moment - 1] : 0, this.#episode.times[this.#moment]];
    const wait = Math.max(FASTEST_MS, Math.min(after - before, LONGEST_MS) / SPEEDS[this.#speed]);
    this.#timer = setTimeout(() => {
      if (this.#frames[this.#moment + 1] || (this.#isFree && !this.#film)) this.#seek(this.#moment + 1);
      else this.#film?.want(this.#moment + 1, this.#frames, true);
      this.#tick();
    }, wait);
    this.#label();
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#label();
  }

  faster(by) {
    this.#speed = Math.max(0, Math.min(this.#speed + by, SPEEDS.length - 1));
    this.#label();
  }

  #turnSpeed() {
    this.#speed = (this.#speed + 1) % SPEEDS.length;
    this.#label();
  }

  #label() {
    byId("play").textContent = this.#timer === null ? "▶" : "❚❚";
    byId("play").setAttribute("aria-label", this.#timer === null ? "Play" : "Pause");
    byId("speed").textContent = `${SPEEDS[this.#speed]}×`;
    byId("speed").setAttribute("aria-label", `Speed: ${SPEEDS[this.#speed]} times`);
  }

  #say(heading, action, words) {
    if (heading !== null) byId("screen-title").textContent = heading || "What they see";
    byId("action").textContent = action;
    byId("moment").textContent = words;
  }
}

export const TOLD = 1;
export const FRAME = 2;

/** Take a stream apart: a byte that says what comes, four for its length, then the thing itself. */
export async function* partsOf(reader) {
  let held = new Uint8Array();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    for (let size; held.length >= 5 && held.length >= (size = 5 + new DataView(held.buffer, held.byteOffset).getUint32(1, true));) {
      yield { kind: held[0] === FRAME ? FRAME : TOLD, data: held.slice(5, size).buffer };
      held = held.slice(size);
    }
  }
}
