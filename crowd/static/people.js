// Everyone in one table: sorted, filtered, with what is bad marked; rows stay where they are while figures change.
//
//   const people = new People((person) => ..., async (word) => [...]);   // whose row was chosen; who has a code or id
//   people.show(rows, now);

import { MISSING, ago, bounds, count, milliseconds, percent, times } from "./format.js";
import { element } from "./picker.js";

const PAGE = 25;
const LOOK_MS = 250; // after the last letter
const SHORTEST = 3; // letters of a code or an id

/** Columns: what is sorted by, what is written, which finding marks it, and whether narrow screens keep it. */
const COLUMNS = [
  { id: "person", head: "Person", of: (one) => one.person, keep: true },
  { id: "stage", head: "At", of: (one) => one.standing || one.outcome || one.stage, keep: true },
  { id: "seen", head: "Seen", of: (one) => one.seen, write: (one, now) => (one.here ? "here" : ago(one.seen, now)) },
  { id: "episodes", head: "Episodes", of: (one) => one.episodes, write: (one) => count(one.episodes), n: true },
  { id: "success", head: "Success", of: (one) => one.success?.share, write: (one) => percent(one.success?.share), n: true, mark: "success", keep: true },
  { id: "interval", head: "95\u2009%", of: (one) => one.success?.low, write: (one) => bounds(one.success), n: true },
  { id: "gold", head: "Gold", of: (one) => (one.gold[1] ? one.gold[0] / one.gold[1] : null), write: (one) => (one.gold[1] ? `${one.gold[0]} of ${one.gold[1]}` : MISSING), n: true, mark: "gold" },
  { id: "length", head: "Length", of: (one) => one.length, write: (one) => times(one.length), n: true, mark: "length" },
  { id: "reaction", head: "Reaction", of: (one) => one.reaction, write: (one) => milliseconds(one.reaction), n: true, mark: "fast" },
  { id: "idle", head: "Idle", of: (one) => one.idle, write: (one) => percent(one.idle), n: true, mark: "idle" },
  { id: "repeats", head: "Repeats", of: (one) => one.repeats, write: (one) => percent(one.repeats), n: true, mark: "repeats" },
  { id: "hidden", head: "Hidden", of: (one) => one.hidden, write: (one) => milliseconds(one.hidden), n: true, mark: "hidden" },
  { id: "lag", head: "Lag", of: (one) => one.lag, write: (one) => milliseconds(one.lag), n: true, mark: "lag" },
  { id: "score", head: "Score", of: (one) => one.score, write: (one) => percent(one.score), n: true },
];

const WHO = {
  all: () => true,
  here: (one) => one.here,
  look: (one) => one.reasons.length > 0 || one.standing !== "",
  ended: (one) => one.outcome !== "",
};

const at = (id) => document.getElementById(id);

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
    at("people").tHead.rows[0].append(...COLUMNS.map((column) => this.#head(column)));
    at("find").addEventListener("input", () => {
      this.#named.clear();
      this.#draw();
      clearTimeout(this.#asking);
      this.#asking = setTimeout(() => this.#look(), LOOK_MS);
    });
    at("more").addEventListener("click", () => {
      this.#shown += 4 * PAGE;
      this.#draw();
    });
    for (const button of at("who").children) {
      button.addEventListener("click", () => {
        this.#who = button.dataset.who;
        this.#shown = PAGE;
        this.#draw();
      });
    }
  }

  /** Ask the server who has the code or the id that was typed: the rows here have neither. */
  async #look() {
    const word = at("find").value.trim();
    if (word.length < SHORTEST) return;
    const named = await this.#find(word);
    if (word !== at("find").value.trim()) return;
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
    const wanted = at("find").value.trim().toLowerCase();
    const found = this.#rows.filter((one) => WHO[this.#who](one) && (this.#named.has(one.person) || `${one.person} ${one.stage} ${one.outcome} ${one.standing}`.includes(wanted)));
    const { of } = COLUMNS.find(({ id }) => id === this.#sort.id);
    found.sort((one, other) => compare(of(one), of(other), this.#sort.down) || compare(one.joined, other.joined, true));
    const listed = found.slice(0, this.#shown);
    const lines = listed.map((one) => this.#line(one));
    const body = at("people").tBodies[0];
    const same = body.rows.length === lines.length && lines.every((line, place) => body.rows[place] === line);
    if (!same) {
      const focused = document.activeElement;
      body.replaceChildren(...lines);
      if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
    }
    at("more").hidden = found.length <= listed.length;
    at("listed").textContent = found.length === this.#rows.length ? `${found.length} ${found.length === 1 ? "person" : "people"}` : `${found.length} of ${this.#rows.length}`;
    for (const button of at("who").children) button.setAttribute("aria-pressed", String(button.dataset.who === this.#who));
    for (const cell of at("people").tHead.rows[0].cells) {
      if (cell.dataset.column === this.#sort.id) cell.setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  /** The row of one person, made once and filled anew. */
  #line(one) {
    if (!this.#lines.has(one.person)) this.#lines.set(one.person, this.#newLine(one.person));
    const line = this.#lines.get(one.person);
    COLUMNS.forEach((column, place) => {
      if (place === 0) return;
      const cell = line.cells[place];
      const words = column.write ? column.write(one, this.#now) : String(column.of(one));
      if (cell.textContent !== words) cell.textContent = words;
      const why = column.mark ? one.marks[column.mark] : undefined;
      cell.classList.toggle("bad", why !== undefined);
      cell.title = why ?? "";
    });
    line.dataset.standing = one.standing;
    line.classList.toggle("here", one.here);
    line.classList.toggle("look", one.reasons.length > 0);
    line.cells[0].title = [one.why, ...one.reasons].filter(Boolean).join("\n");
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
function compare(one, other, down) {
  const [none, neither] = [one === null || one === undefined, other === null || other === undefined];
  if (none || neither) return none - neither;
  if (one === other) return 0;
  return (one < other ? -1 : 1) * (down ? -1 : 1);
}
