// Whether this person plays by touch: what the device is made for, until they use something else.
//
//   isTouch();                                    // for sentences such as "press any key" or "tap"
//   onPointerChange(() => view.redrawCurtain());

let touches = matchMedia("(pointer: coarse)").matches;
const listeners = [];

export const isTouch = () => touches;
export const onPointerChange = (hear) => listeners.push(hear);

function note(isNow) {
  if (isNow === touches) return;
  touches = isNow;
  for (const hear of listeners) hear();
}

document.addEventListener("pointerdown", ({ pointerType }) => note(pointerType === "touch"), true);
// keys on the screen have no code
document.addEventListener("keydown", ({ code, key }) => code && key !== "Unidentified" && note(false), true);
