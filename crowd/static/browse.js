// The page that looks through a store: the list of episodes, the player, and what is written about each.

import { Annotation } from "./annotation.js";
import { List, outcome } from "./episodes.js";
import { Film } from "./film.js";
import { MISSING, count, seconds } from "./format.js";
import { sentence, title } from "./names.js";
import { byId, element } from "./element.js";
import { Player } from "./player.js";

const AROUND = 5; // steps shown before and after the current one
const TYPING = "input:not([type=checkbox]):not([type=range]), textarea, select";


let shownEpisode = null; // the episode that is shown
let requestedId = null; // the id of the one that was asked for last

const player = new Player((moment) => drawSteps(moment));
const list = new List((episode) => open(episode), failed);
const annotation = new Annotation((episode, now) => list.annotated(episode, now));

async function open(episode) {
  if (!(await annotation.leave())) return byId("saved").scrollIntoView({ block: "nearest" }); // what was typed stays
  requestedId = episode;
  player.stop();
  location.hash = episode;
  document.body.dataset.view = "episode";
  byId("nothing").textContent = "Opening the episode…";
  byId("nothing").hidden = !byId("shown").hidden; // an episode that is there stays until the next one is
  note("Playing it again…", false);
  list.current(episode);
  try {
    const response = await fetch(`/episode/${encodeURIComponent(episode)}`);
    if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
    const read = await response.json();
    if (requestedId === episode) show(read);
  } catch (error) {
    if (requestedId === episode) failed(error);
  }
}

function show(read) {
  shownEpisode = { ...read, actions: read.actions ?? read.numbers };
  byId("trouble").hidden = true;
  byId("nothing").hidden = true;
  byId("shown").hidden = false;
  annotation.show(shownEpisode);
  drawFacts();
  const heading = `${title(shownEpisode.task)}, seed ${shownEpisode.seed}`;
  player.open(shownEpisode, shownEpisode.why ? null : new Film(shownEpisode.episode, note));
  byId("screen-title").textContent = heading;
  byId("result").textContent = outcome(shownEpisode.success);
  byId("result").dataset.success = shownEpisode.success;
  byId("instruction").textContent = sentence(shownEpisode.instruction);
  if (shownEpisode.why) note(shownEpisode.why, true);
  document.title = `${heading} · Tutelage`;
  if (matchMedia("(max-width: 60rem)").matches) byId("screen-title").focus();
}

async function close() {
  if (!(await annotation.leave())) return;
  requestedId = null;
  player.stop();
  document.body.dataset.view = "list";
  history.replaceState(null, "", location.pathname);
  list.focus();
}

function note(words, isWrong) {
  byId("screen-note").textContent = words;
  byId("screen-note").dataset.wrong = isWrong;
}

function failed(error) {
  byId("trouble").textContent = error instanceof TypeError ? "The server does not answer: was it stopped?" : error.message;
  byId("trouble").hidden = false;
  byId("nothing").textContent = "Choose an episode.";
}

function drawFacts() {
  const ended = shownEpisode.terminated ? "by the environment" : shownEpisode.truncated ? "out of time" : "left early";
  const versions = Object.entries(shownEpisode.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const facts = {
    By: `${shownEpisode.demonstrator} (${shownEpisode.kind})`,
    Ended: ended,
    Return: shownEpisode.return === null ? MISSING : String(Number(shownEpisode.return.toFixed(3))),
    Steps: count(shownEpisode.steps),
    Time: seconds(shownEpisode.seconds),
    Started: shownEpisode.started ? shownEpisode.started.slice(0, 16).replace("T", " ") : MISSING,
    Rate: shownEpisode.steps_per_second === null ? "" : `${shownEpisode.steps_per_second.toFixed(1)} steps/s`,
    Study: shownEpisode.study,
    Remarks: shownEpisode.notes,
    Observations: shownEpisode.stored ? "stored" : "",
    Environment: shownEpisode.env,
    Versions: versions,
    Episode: shownEpisode.episode,
  };
  byId("facts").replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value !== "").flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]),
  );
}

/** The steps around the current one: actions with their labels, rewards, times, and who acted. */
function drawSteps(moment) {
  if (!shownEpisode) return;
  const last = shownEpisode.actions.length;
  const first = Math.max(1, Math.min(moment - AROUND, last - 2 * AROUND));
  const rows = [];
  for (let step = first; step <= Math.min(last, first + 2 * AROUND); step++) {
    const row = element("tr", step === moment ? "now" : "");
    const jump = element("button", "link", String(step));
    jump.type = "button";
    jump.dataset.step = step;
    jump.setAttribute("aria-label", `Go to step ${step}`);
    const cells = [element("td", "n"), element("td", "", shownEpisode.actions[step - 1])];
    cells[0].append(jump);
    const reward = shownEpisode.rewards[step - 1];
    cells.push(element("td", "n", reward === null ? MISSING : String(Number(reward.toFixed(3)))));
    cells.push(element("td", "n", seconds(shownEpisode.times[step - 1] / 1000)), element("td", "", shownEpisode.controllers[step - 1]));
    if (step === moment) row.setAttribute("aria-current", "step");
    row.append(...cells);
    rows.push(row);
  }
  const focused = document.activeElement?.dataset?.step;
  byId("steps").replaceChildren(...rows);
  if (focused) byId("steps").querySelector(`[data-step="${focused}"]`)?.focus({ preventScroll: true });
}

const KEYS = {
  j: () => list.move(1),
  k: () => list.move(-1),
  " ": () => player.toggle(),
  ArrowRight: (shift) => player.step(shift ? 10 : 1),
  ArrowLeft: (shift) => player.step(shift ? -10 : -1),
  Home: () => player.seek(0),
  End: () => player.seek(shownEpisode?.actions.length ?? 0),
  ".": () => player.faster(1),
  ",": () => player.faster(-1),
  m: () => annotation.toggleMark(),
  n: () => byId("note").focus(),
  t: () => byId("tags").focus(),
  "/": () => byId("text").focus(),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey, shiftKey } = event;
  if (ctrlKey || metaKey || altKey || byId("keys").open) return;
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

byId("close").addEventListener("click", close);
byId("show-keys").addEventListener("click", () => byId("keys").showModal());
byId("steps").addEventListener("click", ({ target }) => target.dataset.step && player.seek(Number(target.dataset.step)));
window.addEventListener("hashchange", () => {
  const episode = location.hash.slice(1);
  if (episode && episode !== requestedId) open(episode);
});

await list.refresh();
document.body.dataset.state = "ready";
if (location.hash.length > 1) open(location.hash.slice(1));
