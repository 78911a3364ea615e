// Key caps that show the controls, light up with the keys, and work as buttons for fingers and screen readers.
//
//   drawCaps(box, controls, keys);   // keys: press(code), lift(code)
//   lightCaps(box, code, true);

import { element } from "./element.js";
import { keyCap, keysSpoken } from "./names.js";

const TAP_MS = 60;

export function drawCaps(box, controls, keys) {
  box.replaceChildren(...controls.map((control) => cap(control, keys)));
}

export function lightCaps(box, code, held) {
  for (const button of box.children) {
    if (button.dataset.codes.split(" ").includes(code)) button.classList.toggle("held", held);
  }
}

export function dimCaps(box) {
  for (const button of box.children) button.classList.remove("held");
}

function cap({ codes, label }, keys) {
  const button = element("button", "cap");
  button.type = "button";
  button.dataset.codes = codes.join(" ");
  button.setAttribute("aria-label", `${label}: ${keysSpoken(codes)}`);
  button.append(...codes.map((code) => element("kbd", "", keyCap(code))), element("span", "", label));
  const press = () => codes.forEach((code) => keys.press(code));
  const lift = () => codes.forEach((code) => keys.lift(code));
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault(); // the keyboard stays with the field
    button.setPointerCapture(event.pointerId);
    press();
  });
  for (const end of ["pointerup", "pointercancel"]) button.addEventListener(end, lift);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("click", (event) => {
    if (event.pointerType) return; // pointerdown has done it already
    press(); // Enter, Space or a screen reader
    setTimeout(lift, TAP_MS);
  });
  return button;
}
