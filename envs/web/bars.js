// Scroll bars. A browser moves them on a thread and a timer of its own, so that what a page shows after a press
// would depend on how busy the machine is; what a mouse does to one is done by script here, at once.
const bars = (() => {
  "use strict";
  const ARROW = 40; // px that an arrow scrolls
  const PAGE = 0.875; // of what shows: what a press beside the thumb scrolls
  const THUMB = 17; // px of the shortest thumb
  const AXES = [
    { side: "right", near: "left", begin: "top", border: "clientTop", edge: "clientLeft", at: "scrollTop",
      size: "clientHeight", whole: "scrollHeight", across: "clientWidth", outer: "offsetWidth",
      ends: ["borderLeftWidth", "borderRightWidth"], overflow: "overflowY" },
    { side: "bottom", near: "top", begin: "left", border: "clientLeft", edge: "clientTop", at: "scrollLeft",
      size: "clientWidth", whole: "scrollWidth", across: "clientHeight", outer: "offsetHeight",
      ends: ["borderTopWidth", "borderBottomWidth"], overflow: "overflowX" },
  ];
  let grip = null;

  // What a mouse at a place points at: a browser, too, leaves fractions of a pixel away.
  const over = (x, y) => document.elementFromPoint(Math.floor(x), Math.floor(y));

  // The width of an element's scroll bar along an axis, 0 without one.
  const width = (element, axis) => {
    if (!(element[axis.outer] > element[axis.across])) return 0;
    const style = getComputedStyle(element);
    if (!/auto|scroll/.test(style[axis.overflow])) return 0;
    const borders = axis.ends.map((name) => Math.round(parseFloat(style[name]) || 0));
    return Math.max(0, element[axis.outer] - element[axis.across] - borders[0] - borders[1]);
  };

  // The bar at a place: its element, its axis, and how far along it the place is, in px; null for none.
  const find = (x, y, element = over(x, y)) => {
    if (!(element instanceof HTMLElement) || !AXES.some((axis) => width(element, axis))) return null;
    const box = element.getBoundingClientRect();
    for (const [axis, off, along] of [[AXES[0], x, y], [AXES[1], y, x]]) {
      const thick = width(element, axis);
      const inner = box[axis.near] + element[axis.edge] + element[axis.across];
      const place = along - box[axis.begin] - element[axis.border];
      if (thick && off >= inner && off < inner + thick && place >= 0 && place < element[axis.size])
        return { element, axis, place, thick };
    }
    return null;
  };

  // The parts of a bar along it, in px: the arrows' length, the thumb's place and length, and how far it can go.
  const partsOf = ({ element, axis, thick }) => {
    const size = element[axis.size];
    const reach = element[axis.whole] - size;
    const arrow = Math.min(thick, size / 2);
    const track = size - 2 * arrow;
    const thumb = Math.min(track, Math.max(THUMB, (track * size) / element[axis.whole]));
    const way = track - thumb;
    return { arrow, thumb, way, reach, top: arrow + (reach > 0 ? (way * element[axis.at]) / reach : 0) };
  };

  // A press gives the focus to what can have it, as anywhere else.
  const focus = (from) => {
    let element = from;
    while (element && (element.tabIndex < 0 || element.disabled)) element = element.parentElement;
    if (element) element.focus({ preventScroll: true });
    else if (document.activeElement) document.activeElement.blur();
  };

  return {
    over,
    isAt: (x, y, element) => find(x, y, element) !== null,
    // Press a bar so many times: an arrow, beside the thumb, or the thumb itself, which `drag` moves then.
    press(x, y, times = 1) {
      const bar = find(x, y);
      grip = null;
      if (bar === null) return;
      focus(bar.element);
      for (let time = 0; time < times; time += 1) {
        const { arrow, thumb, top } = partsOf(bar);
        const { element, axis, place } = bar;
        const size = element[axis.size];
        if (place < arrow) element[axis.at] -= ARROW;
        else if (place >= size - arrow) element[axis.at] += ARROW;
        else if (place < top) element[axis.at] -= Math.floor(PAGE * size);
        else if (place >= top + thumb) element[axis.at] += Math.floor(PAGE * size);
        else grip = { ...bar, x, y, from: element[axis.at] };
      }
    },
    drag(x, y) {
      if (grip === null || !grip.element.isConnected) return;
      const { way, reach } = partsOf(grip);
      const moved = grip.axis.at === "scrollTop" ? y - grip.y : x - grip.x;
      if (way > 0) grip.element[grip.axis.at] = Math.round(grip.from + (moved * reach) / way);
    },
  };
})();
