// One person in a drawer: how they play and why that is good or bad, their picture, their episodes, what may be done.
//
//   const drawer = new Drawer(admin, ask, failed);   // ask({...}): a dialog that wants a reason
//   drawer.open(person);

import { MISSING, ago, count, interval, milliseconds, moment, percent, seconds, times } from "./format.js";
import { title } from "./names.js";
import { element } from "./picker.js";
import { Player } from "./player.js";

const AGAIN_MS = 3000;
const MEASURES = [
  ["Success", "success", (one) => interval(one.success)],
  ["Gold passed", "gold", (one) => (one.gold[1] ? `${one.gold[0]} of ${one.gold[1]}` : MISSING)],
  ["Agreement", "agreement", () => ""],
  ["Steps to expert's", "length", (one) => times(one.length)],
  ["Reaction", "reaction", (one) => milliseconds(one.reaction)],
  ["Keys too fast", "fast", () => ""],
  ["Idle", "idle", (one) => percent(one.idle)],
  ["Repeats", "repeats", (one) => percent(one.repeats)],
  ["Page hidden", "hidden", (one) => milliseconds(one.hidden)],
  ["Lag", "lag", (one) => milliseconds(one.lag)],
  ["Score", "score", (one) => percent(one.score)],
];

const at = (id) => document.getElementById(id);

export class Drawer {
  #admin;
  #ask;
  #failed;
  #player = new Player();
  #person = null;
  #one = null;

  constructor(admin, ask, failed) {
    this.#admin = admin;
    this.#ask = ask;
    this.#failed = failed;
    const dialog = at("person");
    at("person-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
    dialog.addEventListener("close", () => this.#closed());
    at("live").addEventListener("click", () => {
      if (this.#player.live) this.#player.stop();
      else this.#player.watch(this.#person);
      this.#drawLive();
    });
    at("person-pause").addEventListener("click", () => this.#decide(this.#one.standing === "paused" ? "resume" : "pause"));
    at("person-release").addEventListener("click", () => this.#decide("release"));
    at("person-ban").addEventListener("click", () => this.#decide("ban"));
    setInterval(() => this.#person !== null && !document.hidden && this.#refresh(), AGAIN_MS);
  }

  async open(person) {
    this.#person = person;
    this.#player.stop();
    await this.#refresh();
    if (this.#one?.person !== person) return;
    at("person").showModal();
    at("person-name").focus();
    if (this.#one.here) this.#player.watch(person);
    this.#drawLive();
  }

  close() {
    at("person").close();
  }

  async #refresh() {
    const person = this.#person;
    try {
      const one = await this.#admin.ask(`/admin/people/${encodeURIComponent(person)}`);
      if (person === this.#person) this.#draw(one);
    } catch (error) {
      this.#failed(error);
    }
  }

  #closed() {
    this.#person = this.#one = null;
    this.#player.stop();
  }

  async #decide(what) {
    const person = this.#person;
    if (await this.#ask(what, person)) this.#refresh();
  }

  #draw(one) {
    this.#one = one;
    at("person-name").textContent = one.person;
    const where = one.outcome ? `${title(one.outcome)} ${moment(one.ended ?? one.seen)}` : `${one.here ? "Here" : `Seen ${ago(one.seen, one.at)}`}, at ${one.stage}`;
    at("person-state").textContent = `${where} · came ${moment(one.joined)} by ${one.source} · ${one.language}${one.code ? ` · code ${one.code}` : ""}`;
    at("person-why").hidden = one.standing === "";
    at("person-why").textContent = one.standing ? `${title(one.standing)}: ${one.why}` : "";
    const over = one.outcome !== "" || one.standing === "banned";
    for (const id of ["person-pause", "person-ban"]) at(id).hidden = over;
    at("person-pause").textContent = one.standing === "paused" ? "Resume" : "Pause";
    at("how").replaceChildren(...MEASURES.map((measure) => measured(one, measure)).filter(Boolean));
    this.#drawEpisodes(one.played);
    at("paid").hidden = one.payments.length === 0;
    at("payments").replaceChildren(...one.payments.map(paymentLine));
    at("told").replaceChildren(...told(one));
    this.#drawLive();
  }

  #drawLive() {
    at("live").setAttribute("aria-pressed", String(this.#player.live));
    at("live").textContent = this.#player.live ? "Stop watching" : "Watch live";
    at("live").hidden = !this.#player.live && !(this.#one?.here ?? false);
  }

  #drawEpisodes(played) {
    const drawn = at("episodes").dataset.drawn;
    const now = JSON.stringify(played);
    if (drawn === now) return; // the focus stays on its button
    at("episodes").dataset.drawn = now;
    at("episodes").replaceChildren(...(played.length ? played.map((one) => this.#episode(one)) : [nothing("No episodes yet", 7)]));
  }

  #episode(one) {
    const line = element("tr");
    const outcome = one.success === null ? title(one.state) : one.success ? "Success" : "Failure";
    line.append(
      element("th", "", title(one.task)), element("td", "n", String(one.seed)), element("td", "spare", one.role || MISSING),
      element("td", one.success === false ? "bad" : one.success ? "good" : "", outcome),
      element("td", "n spare", one.steps === null ? MISSING : one.expert ? `${one.steps} (${one.expert})` : count(one.steps)),
      element("td", "n spare", seconds(one.seconds)), element("td"),
    );
    line.cells[0].scope = "row";
    const button = element("button", "small", "Replay");
    button.type = "button";
    button.setAttribute("aria-label", `Replay ${title(one.task)}, seed ${one.seed}`);
    button.addEventListener("click", () => {
      this.#player.replay(this.#admin, one.episode);
      this.#drawLive();
      at("screen").scrollIntoView({ block: "start" });
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

function measured(one, [name, id, write]) {
  const [value, why] = [write(one), one.findings.find(({ measure }) => measure === id)];
  if (!value && !why) return null;
  const line = element("tr", why?.against ? "bad" : "");
  const said = element("td", "quiet", why?.sentence ?? "");
  line.append(element("th", "", name), element("td", "value", value), said);
  line.cells[0].scope = "row";
  if (why?.against) said.prepend(element("b", "", "Look: "));
  return line;
}

function told(one) {
  const decisions = one.consents.map((each) => ({ at: each.at, what: `consent ${each.decision}`, reason: `${each.language}, version ${each.consent.slice(0, 8)}` }));
  const rows = [...one.events, ...decisions].sort((first, second) => second.at - first.at);
  return rows.length ? rows.map((row) => eventLine(row, one.at)) : [element("li", "quiet", "Nothing yet")];
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
