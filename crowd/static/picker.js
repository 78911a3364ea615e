// The list of tasks, with how far each has come.
//
//   drawPicker(list, state, (taskId) => ..., { task, text });   // the last: which could not be opened, and why; or null

import { element } from "./element.js";
import { sentence, title } from "./names.js";
import { say } from "./texts.js";

export { element };

export function drawPicker(list, state, choose, failure) {
  list.replaceChildren(...state.tasks.map((task) => item(task, choose, failure?.task === task.id ? failure.text : "")));
}

export function introduction(state) {
  if (state.tasks.every(isDone)) return say("picker.all-done");
  return say(state.baseline ? "picker.baseline" : "picker.record");
}

function isDone(task) {
  return task.target !== null && task.kept + task.givenUp >= task.target;
}

function item(task, choose, failed) {
  const button = element("button", "task");
  button.type = "button";
  button.disabled = isDone(task);
  button.dataset.task = task.id;
  const pace = task.fps === null ? say("picker.own-pace") : say("picker.real-time", { fps: task.fps });
  const about = task.instruction && sentence(task.instruction) + say("stop");
  button.append(
    element("strong", "", title(task.name)),
    element("span", "tally number", tally(task)),
    element("span", "quiet", [about, pace].filter(Boolean).join(" ")),
  );
  if (task.target !== null) {
    const bar = element("progress");
    bar.max = task.target;
    bar.value = task.kept + task.givenUp;
    bar.setAttribute("aria-label", say("picker.progress", { task: title(task.name) }));
    button.append(bar);
  }
  button.addEventListener("click", () => choose(task.id));
  const row = element("li");
  row.append(button);
  if (failed) row.append(alarm(task, failed, button));
  return row;
}

function alarm(task, why, button) {
  const created = element("p", "alarm", `${say("opening.failed")} ${why}`);
  created.id = `failed-${task.id}`;
  created.setAttribute("role", "alert");
  button.setAttribute("aria-describedby", created.id);
  return created;
}

function tally(task) {
  const { kept, target, givenUp } = task;
  const count = target === null ? say("picker.kept", { kept }) : say("picker.kept-of", { kept, target });
  const parts = [target !== null || kept ? (isDone(task) ? "✓ " : "") + count : ""];
  if (givenUp) parts.push(say("picker.given-up", { count: givenUp }));
  return parts.filter(Boolean).join(", ");
}
