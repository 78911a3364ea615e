// The list of tasks, with how far each has come.
//
//   drawPicker(list, state, (taskId) => ...);

import { sentence, title } from "./names.js";

export function drawPicker(list, state, choose) {
  list.replaceChildren(...state.tasks.map((task) => item(task, choose)));
}

export function introduction(state) {
  const all = state.tasks.every(isDone);
  if (all) return "That was everything. Thank you.";
  if (state.baseline) return "The same seeds that policies are measured on, in the same order. The first try counts.";
  return "What you do is recorded as demonstrations that a policy learns from.";
}

function isDone(task) {
  return task.target !== null && task.kept + task.givenUp >= task.target;
}

function item(task, choose) {
  const button = element("button", "task");
  button.type = "button";
  button.disabled = isDone(task);
  button.dataset.task = task.id;
  const pace = task.fps === null ? "At your own pace." : `Real time, ${task.fps} steps a second.`;
  button.append(
    element("strong", "", title(task.id)),
    element("span", "tally number", tally(task)),
    element("span", "quiet", [task.instruction && `${sentence(task.instruction)}.`, pace].filter(Boolean).join(" ")),
  );
  if (task.target !== null) {
    const bar = element("progress");
    bar.max = task.target;
    bar.value = task.kept + task.givenUp;
    bar.setAttribute("aria-label", `${title(task.id)}: kept`);
    button.append(bar);
  }
  button.addEventListener("click", () => choose(task.id));
  const row = element("li");
  row.append(button);
  return row;
}

function tally(task) {
  const kept = task.target === null ? `${task.kept} kept` : `${isDone(task) ? "✓ " : ""}${task.kept} of ${task.target}`;
  const parts = [task.target !== null || task.kept ? kept : "", task.givenUp ? `${task.givenUp} given up` : ""];
  return parts.filter(Boolean).join(", ");
}

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
