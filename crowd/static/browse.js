// The page that looks through a store: the list of episodes, the player, and what is written about each.

import { Annotation } from "./annotation.js";
import { List, outcome } from "./episodes.js";
import { Film } from "./film.js";
import { MISSING, count, seconds } from "./format.js";
import { sentence, title } from "./names.js";
import { element } from "./element.js";
import { Player } from "./player.js";

const AROUND = 5; // steps shown before and after the current one
const TYPING = "input:not([type=checkbox]):not([type=range]), textarea, select";

const at = (id) => document.getElementById(id);

let told = null; // the episode that is shown
let wanted = null; // the id of the one that was asked for last

const player = new Player((moment) => drawSteps(moment));
const list = new List((episode) => open(episode), failed);
const annotation = new Annotation((episode, now) => list.annotated(episode, now));

async function open(episode) {
  if (!(await annotation.leave())) return at("saved").scrollIntoView({ block: "nearest" }); // what was typed stays
  wanted = episode;
  player.stop();
  location.hash = episode;
  document.body.dataset.view = "episode";
  at("nothing").textContent = "Opening the episode…";
  at("nothing").hidden = !at("shown").hidden; // an episode that is there stays until the next one is
  note("Playing it again…", false);
  list.current(episode);
  try {
    const response = await fetch(`/episode/${encodeURIComponent(episode)}`);
    if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
    const read = await response.json();
    if (wanted === episode) show(read);
  } catch (error) {
    if (wanted === episode) failed(error);
  }
}

function show(read) {
  told = { ...read, actions: read.actions ?? read.numbers };
  at("trouble").hidden = true;
  at("nothing").hidden = true;
  at("shown").hidden = false;
  annotation.show(told);
  drawFacts();
  const heading = `${title(told.task)}, seed ${told.seed}`;
  player.open(told, told.why ? null : new Film(told.episode, note));
  at("screen-title").textContent = heading;
  at("result").textContent = outcome(told.success);
  at("result").dataset.success = told.success;
  at("instruction").textContent = sentence(told.instruction);
  if (told.why) note(told.why, true);
  document.title = `${heading} · Tutelage`;
  if (matchMedia("(max-width: 60rem)").matches) at("screen-title").focus();
}

async function close() {
  if (!(await annotation.leave())) return;
  wanted = null;
  player.stop();
  document.body.dataset.view = "list";
  history.replaceState(null, "", location.pathname);
  list.focus();
}

function note(words, isWrong) {
  at("screen-note").textContent = words;
  at("screen-note").dataset.wrong = isWrong;
}

function failed(error) {
  at("trouble").textContent = error instanceof TypeError ? "The server does not answer: was it stopped?" : error.message;
  at("trouble").hidden = false;
  at("nothing").textContent = "Choose an episode.";
}

function drawFacts() {
  const ended = told.terminated ? "by the environment" : told.truncated ? "out of time" : "left early";
  const versions = Object.entries(told.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const facts = {
    By: `${told.demonstrator} (${told.kind})`,
    Ended: ended,
    Return: told.return === null ? MISSING : String(Number(told.return.toFixed(3))),
    Steps: count(told.steps),
    Time: seconds(told.seconds),
    Started: told.started ? told.started.slice(0, 16).replace("T", " ") : MISSING,
    Rate: told.steps_per_second === null ? "" : `${told.steps_per_second.toFixed(1)} steps/s`,
    Study: told.study,
    Remarks: told.notes,
    Observations: told.stored ? "stored" : "",
    Environment: told.env,
    Versions: versions,
    Episode: told.episode,
  };
  at("facts").replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value !== "").flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]),
  );
}

/** The steps around the current one: actions with their labels, rewards, times, and who acted. */
function drawSteps(moment) {
  if (!told) return;
  const last = told.actions.length;
  const first = Math.max(1, Math.min(moment - AROUND, last - 2 * AROUND));
  const rows = [];
  for (let step = first; step <= Math.min(last, first + 2 * AROUND); step++) {
    const row = element("tr", step === moment ? "now" : "");
    const jump = element("button", "link", String(step));
    jump.type = "button";
    jump.dataset.step = step;
    jump.setAttribute("aria-label", `Go to step ${step}`);
    const cells = [element("td", "n"), element("td", "", told.actions[step - 1])];
    cells[0].append(jump);
    const reward = told.rewards[step - 1];
    cells.push(element("td", "n", reward === null ? MISSING : String(Number(reward.toFixed(3)))));
    cells.push(element("td", "n", seconds(told.times[step - 1] / 1000)), element("td", "", told.controllers[step - 1]));
    if (step === moment) row.setAttribute("aria-current", "step");
    row.append(...cells);
    rows.push(row);
  }
  const focused = document.activeElement?.dataset?.step;
  at("steps").replaceChildren(...rows);
  if (focused) at("steps").querySelector(`[data-step="${focused}"]`)?.focus({ preventScroll: true });
}

const KEYS = {
  j: () => list.move(1),
  k: () => list.move(-1),
  " ": () => player.toggle(),
  ArrowRight: (shift) => player.step(shift ? 10 : 1),
  ArrowLeft: (shift) => player.step(shift ? -10 : -1),
  Home: () => player.seek(0),
  End: () => player.seek(told?.actions.length ?? 0),
  ".": () => player.faster(1),
  ",": () => player.faster(-1),
  m: () => annotation.toggleMark(),
  n: () => at("note").focus(),
  t: () => at("tags").focus(),
  "/": () => at("text").focus(),
  "?": () => at("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey, shiftKey } = event;
  if (ctrlKey || metaKey || altKey || at("keys").open) return;
  if (key === "Escape") {
    if (target.matches(TYPING)) {
      event.preventDefault(); // or a search would be emptied
      target.blur();
    } else if (document.body.dataset.view === "episode") close();
    return;
  }
  if (target.matches(TYPING) || (key === " " && target.matches("button, summary, input"))) return;
  if (target.matches("[type=range]") && key !== " " && !/^[a-z/?.,]$/.test(key)) return;
  const act = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!act) return;
  event.preventDefault();
  act(shiftKey);
});

at("close").addEventListener("click", close);
at("show-keys").addEventListener("click", () => at("keys").showModal());
at("steps").addEventListener("click", ({ target }) => target.dataset.step && player.seek(Number(target.dataset.step)));
window.addEventListener("hashchange", () => {
  const episode = location.hash.slice(1);
  if (episode && episode !== wanted) open(episode);
});

await list.refresh();
document.body.dataset.state = "ready";
if (location.hash.length > 1) open(location.hash.slice(1));
