// How a study's episode went: the verdict, the figures, how it compares, and the way on.
//
//   const heard = drawOutcome(way, next);   // what is to be said aloud

import { byId } from "./element.js";
import { figures, sentence } from "./names.js";
import { say } from "./texts.js";
import { bonusSoFar, button } from "./way.js";


export function drawOutcome(way, next) {
  const { outcome } = way;
  const [verdict, success] = judged(way);
  const points = outcome.points === undefined ? "" : say("pay.points", outcome);
  const played = outcome.steps > 0 && success !== null ? figures(outcome) : "";
  const line = [played, points].filter(Boolean).join(" · ");
  const better = outcome.better > 0 ? say("episode.better", { percent: outcome.better }) : "";
  byId("field").hidden = byId("picture").dataset.frame === undefined; // a page that was loaded anew has none yet
  byId("meter").hidden = true;
  byId("curtain").hidden = true;
  byId("controls").hidden = true;
  byId("aside").hidden = true;
  byId("outcome").hidden = false;
  byId("outcome").dataset.success = String(success);
  byId("instruction").textContent = sentence(outcome.instruction);
  byId("verdict").textContent = success ? `✓ ${verdict}` : verdict;
  byId("figures").textContent = line;
  byId("better").hidden = !better;
  byId("better").textContent = better;
  byId("count").textContent = way.stage === "practice" ? say("way.practice") : say("episode.count", way);
  byId("choices").replaceChildren(button(onward(way), "next", true, next, "Enter"));
  return [verdict, line, better, bonusSoFar(way)].filter(Boolean).join(`${say("stop")} `);
}

/** The verdict, and whether it is a good one; null where nobody is told. */
function judged({ stage, outcome, enough, passed }) {
  if (outcome.reason) return [say(`episode.${outcome.reason}`), outcome.reason === "broken" ? null : false];
  if (outcome.success === undefined) return [say("episode.finished"), null];
  if (stage === "practice") {
    const failed = say(enough || passed ? "practice.over" : "practice.again");
    return [outcome.success ? say("practice.solved") : failed, outcome.success || (enough || passed ? null : false)];
  }
  return [say(outcome.success ? "episode.success" : "episode.failure"), outcome.success];
}

function onward({ stage, enough, passed, number, of }) {
  if (stage === "play") return say("episode.next");
  return say(enough || passed ? "practice.next" : "practice.once-more", { number, of });
}
