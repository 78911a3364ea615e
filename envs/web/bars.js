// Scroll bars, moved by script. The browser moves them on a thread and a timer of its own, so that the page after a
// press would depend on the load of the machine.
const bars = (() => {
  "use strict";
  const ARROW = 40; // px that an arrow scrolls
  const PAGE = 0.875; // share of the visible size that a press beside the thumb scrolls
  const THUMB = 17; // px, the minimal length of a thumb
  const AXES = [
    { side: "right", near: "left", begin: "top", border: "clientTop", edge: "clientLeft", at: "scrollTop",
      size: "clientHeight", whole: "scrollHeight", across: "clientWidth", outer: "offsetWidth",
      ends: ["borderLeftWidth", "borderRightWidth"], overflow: "overflowY" },
    { side: "bottom", near: "top", begin: "left", border: "clientLeft", edge: "clientTop", at: "scrollLeft",
      size: "clientWidth", whole: "scrollWidth", across: "clientHeight", outer: "offsetHeight",
      ends: ["borderTopWidth", "borderBottomWidth"], overflow: "overflowX" },
  ];
  let grip = null;

  // The element at a position; like the browser, ignore fractions of a pixel.
  const over = (x, y) => document.elementFromPoint(Math.floor(x), Math.floor(y));

  // The width of an element's scroll bar along an axis, 0 without one.
  const width = (element, axis) => {
    if (!(element[axis.outer] > element[axis.across])) return 0;
    const style = getComputedStyle(element);
    if (!/auto|scroll/.test(style[axis.overflow])) return 0;
    const borders = axis.ends.map((name) => Math.round(parseFloat(style[name]) || 0));
    return Math.max(0, element[axis.outer] - element[axis.across] - borders[0] - borders[1]);
  };

  // The bar at a position: its element, its axis, and the offset along it, in px; null for none.
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

  // The geometry of a bar, in px: the arrows' length, the thumb's offset, length and range.
  const partsOf = ({ element, axis, thick }) => {
    const size = element[axis.size];
    const reach = element[axis.whole] - size;
    const arrow = Math.min(thick, size / 2);
    const track = size - 2 * arrow;
    const thumb = Math.min(track, Math.max(THUMB, (track * size) / element[axis.whole]));
    const way = track - thumb;
    return { arrow, thumb, way, reach, top: arrow + (reach > 0 ? (way * element[axis.at]) / reach : 0) };
  };

  // A press focuses the nearest focusable element, as anywhere else.
  const focus = (from) => {
    let element = from;
    while (element && (element.tabIndex < 0 || element.disabled)) element = element.parentElement;
    if (element) element.focus({ preventScroll: true });
    else if (document.activeElement) document.activeElement.blur();
  };

  return {
    over,
    isAt: (x, y, element) => find(x, y, element) !== null,
    // Press a bar `times` times: an arrow, beside the thumb, or the thumb itself, which `drag` then moves.
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
