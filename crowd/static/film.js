// The pictures of one episode of a store, fetched when they are wanted, a window of steps at a time.
//
//   const film = new Film(episode, (note, isWrong) => ...);   // is told what goes on, "" when all is well
//   film.attach((number, picture) => ...);                    // gets each picture that comes
//   film.want(moment, pictures, isPlaying);                   // pictures: those that came, by their number
//   film.close();

import { count } from "./format.js";
import { FRAME, partsOf } from "./player.js";

const WINDOW = 32;
const AHEAD = 12; // pictures that should be there before they are played
const KEPT = 1500; // around the moment; older ones are fetched again

export class Film {
  #episode;
  #tell;
  #take = () => {};
  #loading = null;
  #first = 0; // of the window that is being fetched
  #end = Infinity; // pictures after this one will never come
  #verdict = ["", false]; // whether all was as recorded, once that is known

  constructor(episode, tell) {
    this.#episode = episode;
    this.#tell = tell;
  }

  attach(take) {
    this.#take = take;
  }

  want(moment, pictures, isPlaying) {
    let first = moment;
    while (pictures[first] && first < moment + AHEAD) first += 1;
    if (first > this.#end || (first > moment && !isPlaying) || first === moment + AHEAD) return;
    if (this.#loading && first >= this.#first && first < this.#first + WINDOW) return;
    for (const number in pictures) if (Math.abs(number - moment) > KEPT) delete pictures[number];
    this.#fetch(first);
  }

  close() {
    this.#loading?.abort();
    this.#loading = null;
  }

  async #fetch(first) {
    this.close();
    const loading = new AbortController();
    [this.#loading, this.#first] = [loading, first];
    const slow = setTimeout(() => this.#tell("Playing it again up to here…", false), 400);
    try {
      const path = `/frames/${encodeURIComponent(this.#episode)}?first=${first}&count=${WINDOW}`;
      const response = await fetch(path, { signal: loading.signal });
      if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
      let number = first;
      let latest = null;
      for await (const { kind, data } of partsOf(response.body.getReader())) {
        if (this.#loading !== loading) return;
        if (kind === FRAME) {
          latest = data.byteLength ? data : latest;
          this.#take(number, latest);
          number += 1;
          continue;
        }
        const notice = JSON.parse(new TextDecoder().decode(data));
        if (notice.type === "failed") throw new Error(notice.why);
        if (notice.type === "progress") {
          clearTimeout(slow);
          this.#tell(`Playing it again: step ${count(notice.step)} of ${count(notice.of)}…`, false);
        } else this.#ended(notice);
      }
      clearTimeout(slow);
      this.#tell(...this.#verdict);
    } catch (error) {
      if (!loading.signal.aborted) this.#tell(`It cannot be shown: ${error.message}`, true);
    } finally {
      clearTimeout(slow);
      if (this.#loading === loading) this.#loading = null;
    }
  }

  #ended({ why, steps, note }) {
    this.#end = steps;
    this.#verdict = [why || note || "Every step gives what was recorded.", Boolean(why)];
  }
}
