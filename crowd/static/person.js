// One person in a drawer: how they play and why that is good or bad, their picture, their episodes, what may be done.
//
//   const drawer = new Drawer(admin, ask, failed);   // ask({...}): a dialog that wants a reason
//   drawer.open(person);

import { byId } from "./element.js";
import { MISSING, ago, count, interval, milliseconds, moment, percent, seconds, times } from "./format.js";
import { title } from "./names.js";
import { element } from "./picker.js";
import { Player } from "./player.js";

const AGAIN_MS = 3000;
const MEASURES = [
  ["Success", "success", (participant) => interval(participant.success)],
  ["Gold passed", "gold", (participant) => (participant.gold[1] ? `${participant.gold[0]} of ${participant.gold[1]}` : MISSING)],
  ["Agreement", "agreement", () => ""],
  ["Steps to expert's", "length", (participant) => times(participant.length)],
  ["Reaction", "reaction", (participant) => milliseconds(participant.reaction)],
  ["Keys too fast", "fast", () => ""],
  ["Idle", "idle", (participant) => percent(participant.idle)],
  ["Repeats", "repeats", (participant) => percent(participant.repeats)],
  ["Page hidden", "hidden", (participant) => milliseconds(participant.hidden)],
  ["Lag", "lag", (participant) => milliseconds(participant.lag)],
  ["Score", "score", (participant) => percent(participant.score)],
];


export class Drawer {
  #admin;
  #ask;
  #failed;
  #player = new Player();
  #person = null;
  #shown = null;

  constructor(admin, ask, failed) {
    this.#admin = admin;
    this.#ask = ask;
    this.#failed = failed;
    const dialog = byId("person");
    byId("person-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
    dialog.addEventListener("close", () => this.#closed());
    byId("live").addEventListener("click", () => {
      if (this.#player.live) this.#player.stop();
      else this.#player.watch(this.#person);
      this.#drawLive();
    });
    byId("person-pause").addEventListener("click", () => this.#decide(this.#shown.standing === "paused" ? "resume" : "pause"));
    byId("person-release").addEventListener("click", () => this.#decide("release"));
    byId("person-ban").addEventListener("click", () => this.#decide("ban"));
    setInterval(() => this.#person !== null && !document.hidden && this.#refresh(), AGAIN_MS);
  }

  async open(person) {
    this.#person = person;
    this.#player.stop();
    await this.#refresh();
    if (this.#shown?.person !== person) return;
    byId("person").showModal();
    byId("person-name").focus();
    if (this.#shown.here) this.#player.watch(person);
    this.#drawLive();
  }

  close() {
    byId("person").close();
  }

  async #refresh() {
    const person = this.#person;
    try {
      const participant = await this.#admin.ask(`/admin/people/${encodeURIComponent(person)}`);
      if (person === this.#person) this.#draw(participant);
    } catch (error) {
      this.#failed(error);
    }
  }

  #closed() {
    this.#person = this.#shown = null;
    this.#player.stop();
  }

  async #decide(what) {
    const person = this.#person;
    if (await this.#ask(what, person)) this.#refresh();
  }

  #draw(participant) {
    this.#shown = participant;
    byId("person-name").textContent = participant.person;
    const where = participant.outcome ? `${title(participant.outcome)} ${moment(participant.ended ?? participant.seen)}` : `${participant.here ? "Here" : `Seen ${ago(participant.seen, participant.at)}`}, at ${participant.stage}`;
    byId("person-state").textContent = `${where} · came ${moment(participant.joined)} by ${participant.source} · ${participant.language}${participant.code ? ` · code ${participant.code}` : ""}`;
    byId("person-why").hidden = participant.standing === "";
    byId("person-why").textContent = participant.standing ? `${title(participant.standing)}: ${participant.why}` : "";
    const over = participant.outcome !== "" || participant.standing === "banned";
    for (const id of ["person-pause", "person-ban"]) byId(id).hidden = over;
    byId("person-pause").textContent = participant.standing === "paused" ? "Resume" : "Pause";
    byId("how").replaceChildren(...MEASURES.map((measure) => measured(participant, measure)).filter(Boolean));
    this.#drawEpisodes(participant.played);
    byId("paid").hidden = participant.payments.length === 0;
    byId("payments").replaceChildren(...participant.payments.map(paymentLine));
    byId("told").replaceChildren(...historyOf(participant));
    this.#drawLive();
  }

  #drawLive() {
    byId("live").setAttribute("aria-pressed", String(this.#player.live));
    byId("live").textContent = this.#player.live ? "Stop watching" : "Watch live";
    byId("live").hidden = !this.#player.live && !(this.#shown?.here ?? false);
  }

  #drawEpisodes(played) {
    const drawn = byId("episodes").dataset.drawn;
    const now = JSON.stringify(played);
    if (drawn === now) return; // the focus stays on its button
    byId("episodes").dataset.drawn = now;
    byId("episodes").replaceChildren(...(played.length ? played.map((episode) => this.#episode(episode)) : [nothing("No episodes yet", 7)]));
  }

  #episode(episode) {
    const line = element("tr");
    const outcome = episode.success === null ? title(episode.state) : episode.success ? "Success" : "Failure";
    line.append(
      element("th", "", title(episode.task)), element("td", "n", String(episode.seed)), element("td", "spare", episode.role || MISSING),
      element("td", episode.success === false ? "bad" : episode.success ? "good" : "", outcome),
      element("td", "n spare", episode.steps === null ? MISSING : episode.expert ? `${episode.steps} (${episode.expert})` : count(episode.steps)),
      element("td", "n spare", seconds(episode.seconds)), element("td"),
    );
    line.cells[0].scope = "row";
    const button = element("button", "small", "Replay");
    button.type = "button";
    button.setAttribute("aria-label", `Replay ${title(episode.task)}, seed ${episode.seed}`);
    button.addEventListener("click", () => {
      this.#player.replay(this.#admin, episode.episode);
      this.#drawLive();
      byId("screen").scrollIntoView({ block: "start" });
    });
    line.cells[6].append(button);
    return line;
  }
}

function paymentLine({ kind, amount, currency, state, reason, at: when }) {
  const line = element("tr");
  line.append(
    element("th", "", title(kind)), element("td", "n", `${amount} ${currency}`), element("td", state === "refused" ? "bad" : "", title(state)),
    element("td", "", moment(when)), element("td", "quiet", reason || MISSING),
  );
  line.cells[0].scope = "row";
  return line;
}

function measured(participant, [name, id, write]) {
  const [value, why] = [write(participant), participant.findings.find(({ measure }) => measure === id)];
  if (!value && !why) return null;
  const line = element("tr", why?.against ? "bad" : "");
  const sentence = element("td", "quiet", why?.sentence ?? "");
  line.append(element("th", "", name), element("td", "value", value), sentence);
  line.cells[0].scope = "row";
  if (why?.against) sentence.prepend(element("b", "", "Look: "));
  return line;
}

function historyOf(participant) {
  const decisions = participant.consents.map((consent) => ({ at: consent.at, what: `consent ${consent.decision}`, reason: `${consent.language}, version ${consent.consent.slice(0, 8)}` }));
  const rows = [...participant.events, ...decisions].sort((first, second) => second.at - first.at);
  return rows.length ? rows.map((row) => eventLine(row, participant.at)) : [element("li", "quiet", "Nothing yet")];
}

/** One line of a list of events. */
export function eventLine({ at: when, what, reason, person }, now, open = null) {
  const line = element("li");
  const time = element("time", "quiet", now - when < 43_200 ? ago(when, now) : moment(when));
  time.dateTime = new Date(1000 * when).toISOString();
  const words = element("span");
  words.append(element("b", `what-${what}`, title(what)));
  if (person && open) {
    const button = element("button", "link", person);
    button.type = "button";
    button.addEventListener("click", () => open(person));
    words.append(" ", button);
  }
  if (reason) words.append(element("span", "quiet", ` ${reason}`));
  line.append(time, words);
  return line;
}

export function nothing(words, columns) {
  const line = element("tr");
  const cell = element("td", "quiet", words);
  cell.colSpan = columns;
  line.append(cell);
  return line;
}
