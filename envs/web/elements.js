// The content of a page as columns in document order: elements with a box, and lines of text as elements of their
// own (tag `t`, negative ref) where text and elements are mixed.
const elements = (() => {
  "use strict";
  const OUTSIDE = new Set(["reward-display", "sync-task-cover", "click-canvas", "attention-canvas", "query"]);
  const FOCUSED = 1;
  const TAMPERED = 2;
  const OWN_TEXT = 4;
  const BOOLEAN = 8;
  const MOST = 2048;
  const LOOKED_AT = 300;
  const colors = new Map();
  let refs = new WeakMap();
  let known = [null];
  let tampered = new WeakSet();

  // A field named `id` shadows the `id` of its form.
  const attribute = (element, name) => element.getAttribute(name) || "";

  const color = (text) => {
    let packed = colors.get(text);
    if (packed === undefined) {
      const [r, g, b, a = 1] = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
      packed = text.startsWith("rgb") ? ((r << 24) | (g << 16) | (b << 8) | Math.round(a * 255)) >>> 0 : 0;
      colors.set(text, packed);
    }
    return packed;
  };

  const refOf = (element) => {
    let ref = refs.get(element);
    if (ref === undefined) {
      ref = known.length;
      refs.set(element, ref);
      known.push(element);
    }
    return ref;
  };

  const valueOf = (element) => {
    if (element instanceof HTMLInputElement)
      return element.type === "checkbox" || element.type === "radio" ? String(element.checked) : element.value;
    return element instanceof HTMLTextAreaElement ? element.value : null;
  };

  // The lines of a text node: [text, box] each.
  const linesOf = (node) => {
    const found = [];
    const range = document.createRange();
    const length = node.data.length;
    let start = 0;
    while (start < length) {
      range.setStart(node, start);
      range.setEnd(node, length);
      let end = length;
      if (range.getClientRects().length > 1) {
        let low = start + 1;
        while (low < end) {
          const middle = (low + end + 1) >> 1;
          range.setEnd(node, middle);
          if (range.getClientRects().length > 1) end = middle - 1;
          else low = middle;
        }
        range.setEnd(node, end);
      }
      const rect = range.getClientRects()[0];
      const text = node.data.slice(start, end).trim();
      if (rect && rect.width > 0 && rect.height > 0 && text) found.push([text, rect]);
      start = end;
    }
    return found;
  };

  // The indices of elements whose center is out of view, covered or on a scroll bar; above LOOKED_AT elements, all,
  // unchecked.
  const covered = (columns) => {
    const places = [...columns.ref.keys()];
    if (places.length > LOOKED_AT) return places;
    return places.filter((at) => {
      let owner = at;
      while (columns.ref[owner] < 0) owner = columns.parent[owner];
      const x = columns.left[at] + columns.width[at] / 2;
      const y = columns.top[at] + columns.height[at] / 2;
      const over = bars.over(x, y);
      return !known[columns.ref[owner]].contains(over) || bars.isAt(x, y, over);
    });
  };

  const list = () => {
    const columns = {
      ref: [], parent: [], tag: [], text: [], value: [], id: [], classes: [],
      left: [], top: [], width: [], height: [], bg: [], fg: [], flags: [],
    };
    let lines = 0;
    const focused = document.activeElement;

    const add = (rect, ...row) => {
      const at = columns.ref.length;
      const [ref, parent, tag, text, value, id, classes, bg, fg, flags] = row;
      columns.ref.push(ref);
      columns.parent.push(parent);
      columns.tag.push(tag);
      columns.text.push(text);
      columns.value.push(value);
      columns.id.push(id);
      columns.classes.push(classes);
      columns.left.push(rect.left);
      columns.top.push(rect.top);
      columns.width.push(rect.width);
      columns.height.push(rect.height);
      columns.bg.push(bg);
      columns.fg.push(fg);
      columns.flags.push(flags);
      return at;
    };

    const visit = (element, parent) => {
      if (columns.ref.length >= MOST || OUTSIDE.has(attribute(element, "id"))) return;
      const rect = element.getBoundingClientRect();
      if (rect.width === 0 || rect.height === 0) return;
      const style = getComputedStyle(element);
      const drawn = element instanceof SVGElement;
      const inside = [];
      let isText = true;
      for (const child of element.childNodes) {
        if (child.nodeType === Node.TEXT_NODE) {
          if (child.data.trim()) inside.push(child);
        } else if (child.nodeType === Node.ELEMENT_NODE) {
          inside.push(child);
          isText = false;
        }
      }
      const value = valueOf(element);
      const flags =
        (element === focused ? FOCUSED : 0) |
        (tampered.has(element) ? TAMPERED : 0) |
        (isText ? OWN_TEXT : 0) |
        (value !== null && (element.type === "checkbox" || element.type === "radio") ? BOOLEAN : 0);
      const at = add(
        rect, refOf(element), parent,
        element instanceof HTMLInputElement ? `${element.tagName}_${element.type}` : element.tagName,
        isText ? inside.map((child) => child.data.trim()).join(" ") : "",
        value, attribute(element, "id"), drawn ? "SVG_CLASS" : attribute(element, "class"),
        color(style.backgroundColor), color(drawn && style.fill !== "none" ? style.fill : style.color), flags,
      );
      if (isText) return;
      for (const child of inside) {
        if (child.nodeType === Node.ELEMENT_NODE) {
          visit(child, at);
          continue;
        }
        for (const [text, box] of linesOf(child)) {
          lines -= 1;
          add(box, lines, at, "t", text, null, "", "", 0, 0, OWN_TEXT);
        }
      }
    };

    visit(document.body, -1);
    return { elements: JSON.stringify(columns), covered: covered(columns) };
  };

  return {
    list,
    find: (ref) => (ref > 0 && known[ref] && known[ref].isConnected ? known[ref] : null),
    // The ref of the nearest listed ancestor, 0 for none.
    refOver(element) {
      while (element && !refs.has(element)) element = element.parentElement;
      return element ? refs.get(element) : 0;
    },
    touch: (element) => void tampered.add(element),
    begin() {
      refs = new WeakMap();
      known = [null];
      tampered = new WeakSet();
    },
  };
})();
