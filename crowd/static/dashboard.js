// The page of whoever runs a study: signs in, asks for the figures while somebody looks, and draws them.

import { Admin, SignedOut } from "./admin.js";
import { drawBars, drawLines, drawShare, drawSwarm } from "./charts.js";
import { byId } from "./element.js";
import { MISSING, ago, bounds, clock, count, interval, milliseconds, percent, seconds, times } from "./format.js";
import { plural, title } from "./names.js";
import { People } from "./people.js";
import { Drawer, eventLine, nothing } from "./person.js";
import { element } from "./picker.js";

const FIGURES_MS = 2000;
const PEOPLE_MS = 4000;
const STAGES = ["consent", "instructions", "practice", "check", "play", "rest"];
const WORDS = {
  pause: ["Pause", "Nobody plays on until you resume; what they did is saved."],
  resume: ["Resume", "They can play on at once."],
  release: ["Release link", "Their browsers no longer count. The next browser that opens their link has it."],
  ban: ["Ban", "Their session ends for good. What they did is kept; leave it out of training by weight, or forget them."],
};

const admin = new Admin();
const drawer = new Drawer(admin, ask, failed);
const people = new People((person) => drawer.open(person), findPeople);

let latest = null;
let everyone = null;
let range = "hour";
let polling = null;
let peopleDue = 0;
let drawnEffort = null;

function show(state) {
  document.body.dataset.state = state;
  byId("door").hidden = state !== "door";
  byId("board").hidden = state !== "board";
  for (const part of document.querySelectorAll(".bar .study, .bar .tools")) part.hidden = state !== "board";
  if (state === "door") byId("token").focus();
}

function failed(error) {
  if (error instanceof SignedOut) {
    clearTimeout(polling);
    drawer.close();
    admin.arrive().then(() => show("door"), failed);
    return;
  }
  byId("trouble").hidden = false;
  byId("trouble").textContent = latest ? `The server does not answer; these are the figures of ${clock(latest.at)}.` : "The server does not answer; trying again.";
}

/** Return the pseudonyms of those who have a completion code or an id at the panel. */
async function findPeople(word) {
  try {
    return (await (await admin.post("/admin/find", { word })).json()).people;
  } catch (error) {
    failed(error);
    return [];
  }
}

async function poll() {
  clearTimeout(polling);
  if (!document.hidden) {
    try {
      latest = await admin.ask(`/admin/figures?window=${range}`);
      if (performance.now() >= peopleDue) {
        everyone = await admin.ask("/admin/people");
        peopleDue = performance.now() + PEOPLE_MS;
      }
      byId("trouble").hidden = true;
      draw();
    } catch (error) {
      failed(error);
      if (error instanceof SignedOut) return;
    }
  }
  polling = setTimeout(poll, FIGURES_MS);
}

function draw() {
  const { study, tasks, servers, events } = latest;
  document.title = `${study.title} · Tutelage`;
  byId("title").textContent = study.title;
  byId("running").textContent = study.paused ? `Paused: ${study.reason}` : "Running";
  byId("running").dataset.paused = study.paused;
  byId("pause-study").textContent = study.paused ? "Resume study" : "Pause study";
  byId("updated").textContent = `as of ${new Date(1000 * latest.at).toLocaleTimeString("en-GB")}`;
  for (const button of byId("window").children) button.setAttribute("aria-pressed", String(button.dataset.window === range));
  const several = servers.filter(({ alive }) => alive).length > 1;
  byId("demonstrations").textContent = several ? "Demonstrations that this server stores (Parquet)" : "Demonstrations (Parquet)";
  byId("tiles").replaceChildren(...tiles());
  drawCharts();
  byId("tasks").tBodies[0].replaceChildren(...(tasks.length ? tasks.map(taskLine) : [nothing("No tasks", 6)]));
  byId("servers").tBodies[0].replaceChildren(...(servers.length ? servers.map(serverLine) : [nothing("No heartbeat yet", 6)]));
  byId("events").replaceChildren(...(events.length ? events.map((event) => eventLine(event, latest.at, (person) => drawer.open(person))) : [element("li", "quiet", "Nothing yet")]));
  people.show(everyone.people, everyone.at);
  show("board");
}

function tiles() {
  const { people: now, study, success, curves, tasks } = latest;
  const total = (counts) => Object.values(counts).reduce((sum, number) => sum + number, 0);
  const presentCount = total(now.here);
  const [playing, resting] = [now.here.play, now.here.rest];
  const stages = [[playing, "playing"], [resting, "at rest"], [presentCount - playing - resting, "not yet"]].filter(([n]) => n).map((parts) => parts.join(" "));
  const others = Object.entries(now.outcomes).filter(([outcome]) => outcome !== "completed").map(([outcome, n]) => `${n} ${outcome}`).join(" · ");
  const quotas = tasks.filter(({ quota }) => quota !== null);
  const left = quotas.reduce((sum, { left: places }) => sum + places, 0);
  const [p50, p95, p99] = latest.lag ?? [null, null, null];
  const completed = now.outcomes.completed ?? 0;
  return [
    tile("Here now", count(presentCount), stages.join(" · ") || "nobody just now"),
    tile("Completed", study.people ? `${count(completed)} of ${count(study.people)}` : count(completed), others || `${plural(now.joined, "person").replace("persons", "people")} came`),
    tile("Episodes a minute", curves.rate.toFixed(1), `${count(success?.n ?? 0)} in all`),
    tile("Success", success ? percent(success.share) : MISSING, success ? `95 % interval ${bounds(success)}` : "no episode yet"),
    tile("Lag", milliseconds(p50), p50 === null ? "no key in 5 min" : `p95 ${milliseconds(p95)} · p99 ${milliseconds(p99)}`),
    tile("Left to play", quotas.length ? count(left) : MISSING, quotas.length ? `of ${count(quotas.reduce((sum, { quota }) => sum + quota, 0))} demonstrations` : "no quotas"),
  ];
}

function tile(name, value, below) {
  const tileElement = element("div", "tile");
  tileElement.append(element("dt", "", name), element("dd", "figure", value), element("dd", "quiet", below));
  return tileElement;
}

function drawCharts() {
  const { curves, people: now } = latest;
  const { first, step } = curves;
  const minutes = step / 60;
  const rate = (value, axis) => (value === null ? MISSING : Number(value.toFixed(axis && value >= 10 ? 0 : 1)).toString());
  drawLines(byId("pace"), { title: "Episodes a minute", first, step, write: rate, series: [{ name: "", kind: "a", values: curves.episodes.map((n) => n / minutes) }] });
  const lag = (place) => curves.lag.map((quantiles) => quantiles[place]);
  drawLines(byId("lag"), {
    title: "From key to picture", first, step, write: (value, axis) => (axis ? `${value}` : milliseconds(value)),
    series: [{ name: "p99", kind: "c", values: lag(2) }, { name: "p95", kind: "b", values: lag(1) }, { name: "p50", kind: "a", values: lag(0) }],
    note: "Milliseconds, of each episode's median; p95 from 20 episodes a point on, p99 from 100.",
  });
  const ended = Object.entries(now.outcomes).sort((first, second) => second[1] - first[1]);
  drawBars(byId("way"), {
    title: "On their way",
    rows: [
      ...STAGES.map((stage) => ({ name: title(stage), value: now.underway[stage], strong: now.here[stage], kind: "underway" })),
      ...ended.map(([outcome, value]) => ({ name: title(outcome), value, kind: outcome === "completed" ? "good" : "ended" })),
    ],
  });
  drawEffort();
}

/** Many people are many dots: drawn when there is something new about them, or another width. */
function drawEffort() {
  const now = `${everyone.at} ${byId("effort").clientWidth}`;
  if (now === drawnEffort) return;
  drawnEffort = now;
  const played = everyone.people.filter(({ success }) => success !== null);
  const byLength = played.some(({ length }) => length !== null);
  const effort = byLength ? "length" : "seconds";
  const write = byLength ? times : seconds;
  drawSwarm(byId("effort"), {
    title: "Effort and success",
    xTitle: byLength ? "steps to the expert's, solved episodes" : "seconds an episode",
    writeX: (value) => (byLength ? `${value}×` : `${value}\u2009s`),
    points: played.filter((person) => person[effort] !== null).map((person) => ({
      name: person.person, x: person[effort], y: person.success.share,
      kind: person.reasons.length || person.standing ? "look" : person.here ? "here" : "away",
      told: `${person.person}: ${interval(person.success)} of ${person.success.n}, ${write(person[effort])}`,
    })),
    open: (person) => drawer.open(person),
    note: "A dot a person: filled while here, red where worth a look. Dots that would hide each other stand side by side.",
  });
}

function taskLine(task) {
  const line = element("tr");
  const share = element("td", "sharing");
  share.append(drawShare(task.share), element("span", "", task.share ? interval(task.share) : MISSING));
  line.append(element("th", "", title(task.task)), share, element("td", "n", count(task.n)), element("td", "n", times(task.length)), element("td", "n spare", seconds(task.seconds)), quota(task));
  line.cells[0].scope = "row";
  return line;
}

function quota({ quota: target, done, held, left, task }) {
  if (target === null) return element("td", "quiet", held ? `${done} done, ${held} underway, no quota` : `${done} done, no quota`);
  const cell = element("td", "quota");
  const bar = element("progress");
  bar.max = target;
  bar.value = Math.min(done, target);
  bar.setAttribute("aria-label", `${title(task)}: done of the quota`);
  cell.append(bar, element("span", "", `${count(done)} of ${count(target)}`), element("span", "quiet", left ? `${count(left)} left${held ? `, ${held} underway` : ""}` : held ? `${held} underway` : "full"));
  return cell;
}

function serverLine(server) {
  const line = element("tr", server.alive ? "" : "gone");
  const state = element("td", server.alive ? "alive" : "quiet", server.trouble ? `cannot save: ${server.trouble}` : server.alive ? ago(server.seen, latest.at) : `gone ${ago(server.seen, latest.at)}`);
  state.classList.toggle("bad", server.trouble !== "");
  line.append(
    element("th", "", server.server), element("td", "n", count(server.alive ? server.seats : 0)), element("td", "n spare", count(server.steps)),
    element("td", "n", server.lag ? `${Math.round(server.lag[0])} · ${milliseconds(server.lag[2])}` : MISSING), element("td", "n spare", count(server.restarts)), state,
  );
  line.cells[0].scope = "row";
  return line;
}

/** Ask for the reason of a decision, then send it; true when it was taken. */
function ask(what, person = "") {
  const [verb, meaning] = WORDS[what];
  byId("reason-title").textContent = `${verb} ${person || "the whole study"}`;
  byId("reason-text").textContent = meaning;
  byId("reason-do").textContent = verb;
  byId("reason-words").value = byId("reason-refused").textContent = "";
  byId("reason").showModal();
  return new Promise((resolve) => {
    byId("reason").onclose = () => resolve(false);
    byId("reason-form").onsubmit = async (event) => {
      event.preventDefault();
      try {
        await admin.post("/admin/decide", { what, person, reason: byId("reason-words").value });
        resolve(true);
        byId("reason").close();
        peopleDue = 0;
        poll();
      } catch (error) {
        if (error instanceof SignedOut) byId("reason").close();
        byId("reason-refused").textContent = error.message;
      }
    };
  });
}

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await admin.signIn(byId("token").value);
    byId("token").value = byId("refused").textContent = "";
    await poll();
  } catch (error) {
    byId("refused").textContent = error.message;
  }
});
byId("sign-out").addEventListener("click", () => admin.signOut().then(() => failed(new SignedOut()), failed));
byId("pause-study").addEventListener("click", () => ask(latest.study.paused ? "resume" : "pause"));
byId("reason-cancel").addEventListener("click", () => byId("reason").close());
for (const button of byId("window").children) {
  button.addEventListener("click", () => {
    range = button.dataset.window;
    poll();
  });
}
document.addEventListener("visibilitychange", () => document.body.dataset.state === "board" && !document.hidden && poll());
document.addEventListener("click", ({ target }) => !byId("export").contains(target) && byId("export").removeAttribute("open"));
new ResizeObserver(() => latest && everyone && document.body.dataset.state === "board" && drawCharts()).observe(byId("board"));

admin.arrive().then((signedIn) => (signedIn ? poll() : show("door")), failed);
