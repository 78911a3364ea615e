// Everyone in one table: sorted, filtered, with what is bad marked; rows stay where they are while figures change.
//
//   const people = new People((person) => ..., async (word) => [...]);   // whose row was chosen; who has a code or id
//   people.show(rows, now);

import { byId } from "./element.js";
import { MISSING, ago, bounds, count, milliseconds, percent, times } from "./format.js";
import { element } from "./picker.js";

const PAGE = 25;
const LOOK_MS = 250; // after the last letter
const SHORTEST = 3; // letters of a code or an id

/** Columns: what is sorted by, what is written, which finding marks it, and whether narrow screens keep it. */
const COLUMNS = [
  { id: "person", head: "Person", of: (participant) => participant.person, keep: true },
  { id: "stage", head: "At", of: (participant) => participant.standing || participant.outcome || participant.stage, keep: true },
  { id: "seen", head: "Seen", of: (participant) => participant.seen, write: (participant, now) => (participant.here ? "here" : ago(participant.seen, now)) },
  { id: "episodes", head: "Episodes", of: (participant) => participant.episodes, write: (participant) => count(participant.episodes), n: true },
  { id: "success", head: "Success", of: (participant) => participant.success?.share, write: (participant) => percent(participant.success?.share), n: true, mark: "success", keep: true },
  { id: "interval", head: "95\u2009%", of: (participant) => participant.success?.low, write: (participant) => bounds(participant.success), n: true },
  { id: "gold", head: "Gold", of: (participant) => (participant.gold[1] ? participant.gold[0] / participant.gold[1] : null), write: (participant) => (participant.gold[1] ? `${participant.gold[0]} of ${participant.gold[1]}` : MISSING), n: true, mark: "gold" },
  { id: "length", head: "Length", of: (participant) => participant.length, write: (participant) => times(participant.length), n: true, mark: "length" },
  { id: "reaction", head: "Reaction", of: (participant) => participant.reaction, write: (participant) => milliseconds(participant.reaction), n: true, mark: "fast" },
  { id: "idle", head: "Idle", of: (participant) => participant.idle, write: (participant) => percent(participant.idle), n: true, mark: "idle" },
  { id: "repeats", head: "Repeats", of: (participant) => participant.repeats, write: (participant) => percent(participant.repeats), n: true, mark: "repeats" },
  { id: "hidden", head: "Hidden", of: (participant) => participant.hidden, write: (participant) => milliseconds(participant.hidden), n: true, mark: "hidden" },
  { id: "lag", head: "Lag", of: (participant) => participant.lag, write: (participant) => milliseconds(participant.lag), n: true, mark: "lag" },
  { id: "score", head: "Score", of: (participant) => participant.score, write: (participant) => percent(participant.score), n: true },
];

const WHO = {
  all: () => true,
  here: (participant) => participant.here,
  look: (participant) => participant.reasons.length > 0 || participant.standing !== "",
  ended: (participant) => participant.outcome !== "",
};


export class People {
  #open;
  #find;
  #named = new Set(); // who has the code or id that is looked for
  #asking = null;
  #rows = [];
  #now = 0;
  #shown = PAGE;
  #who = "all";
  #sort = { id: "seen", down: true };
  #lines = new Map();

  constructor(open, find) {
    this.#open = open;
    this.#find = find;
    byId("people").tHead.rows[0].append(...COLUMNS.map((column) => this.#head(column)));
    byId("find").addEventListener("input", () => {
      this.#named.clear();
      this.#draw();
      clearTimeout(this.#asking);
      this.#asking = setTimeout(() => this.#look(), LOOK_MS);
    });
    byId("more").addEventListener("click", () => {
      this.#shown += 4 * PAGE;
      this.#draw();
    });
    for (const button of byId("who").children) {
      button.addEventListener("click", () => {
        this.#who = button.dataset.who;
        this.#shown = PAGE;
        this.#draw();
      });
    }
  }

  /** Ask the server who has the code or the id that was typed: the rows here have neither. */
  async #look() {
    const word = byId("find").value.trim();
    if (word.length < SHORTEST) return;
    const named = await this.#find(word);
    if (word !== byId("find").value.trim()) return;
    this.#named = new Set(named);
    this.#draw();
  }

  show(rows, now) {
    this.#rows = rows;
    this.#now = now;
    this.#draw();
  }

  #head({ id, head, n, keep }) {
    const cell = element("th", classes(n, keep));
    cell.scope = "col";
    cell.dataset.column = id;
    const button = element("button", "sort", head);
    button.type = "button";
    button.addEventListener("click", () => {
      this.#sort = { id, down: this.#sort.id === id ? !this.#sort.down : id !== "person" && id !== "stage" };
      this.#draw();
    });
    cell.append(button);
    return cell;
  }

  #draw() {
    const searched = byId("find").value.trim().toLowerCase();
    const matching = this.#rows.filter((participant) => WHO[this.#who](participant) && (this.#named.has(participant.person) || `${participant.person} ${participant.stage} ${participant.outcome} ${participant.standing}`.includes(searched)));
    const { of } = COLUMNS.find(({ id }) => id === this.#sort.id);
    matching.sort((participant, other) => compare(of(participant), of(other), this.#sort.down) || compare(participant.joined, other.joined, true));
    const listed = matching.slice(0, this.#shown);
    const lines = listed.map((participant) => this.#line(participant));
    const body = byId("people").tBodies[0];
    const same = body.rows.length === lines.length && lines.every((line, place) => body.rows[place] === line);
    if (!same) {
      const focused = document.activeElement;
      body.replaceChildren(...lines);
      if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
    }
    byId("more").hidden = matching.length <= listed.length;
    byId("listed").textContent = matching.length === this.#rows.length ? `${matching.length} ${matching.length === 1 ? "person" : "people"}` : `${matching.length} of ${this.#rows.length}`;
    for (const button of byId("who").children) button.setAttribute("aria-pressed", String(button.dataset.who === this.#who));
    for (const cell of byId("people").tHead.rows[0].cells) {
      if (cell.dataset.column === this.#sort.id) cell.setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  /** The row of one person, made once and filled anew. */
  #line(participant) {
    if (!this.#lines.has(participant.person)) this.#lines.set(participant.person, this.#newLine(participant.person));
    const line = this.#lines.get(participant.person);
    COLUMNS.forEach((column, place) => {
      if (place === 0) return;
      const cell = line.cells[place];
      const words = column.write ? column.write(participant, this.#now) : String(column.of(participant));
      if (cell.textContent !== words) cell.textContent = words;
      const why = column.mark ? participant.marks[column.mark] : undefined;
      cell.classList.toggle("bad", why !== undefined);
      cell.title = why ?? "";
    });
    line.dataset.standing = participant.standing;
    line.classList.toggle("here", participant.here);
    line.classList.toggle("look", participant.reasons.length > 0);
    line.cells[0].title = [participant.why, ...participant.reasons].filter(Boolean).join("\n");
    return line;
  }

  #newLine(person) {
    const line = element("tr");
    line.append(...COLUMNS.map(({ n, keep }, place) => element(place ? "td" : "th", classes(n, keep))));
    line.cells[0].scope = "row";
    const button = element("button", "link", person);
    button.type = "button";
    button.addEventListener("click", () => this.#open(person));
    line.cells[0].append(button);
    return line;
  }
}

const classes = (n, keep) => [n ? "n" : "", keep ? "" : "spare"].filter(Boolean).join(" ");

/** Order two values, what is missing always last. */
function compare(participant, other, down) {
  const [none, neither] = [participant === null || participant === undefined, other === null || other === undefined];
  if (none || neither) return none - neither;
  if (participant === other) return 0;
  return (participant < other ? -1 : 1) * (down ? -1 : 1);
}
