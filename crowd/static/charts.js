// Charts drawn on SVG: lines over time, bars, and a swarm of people. Each takes a <figure>, fills it at the
// width it has, and keeps a table of the same figures below for those who read instead of look.
//
//   drawLines(figure, { title, first, step, series: [{ name, kind, values }], write });
//   drawBars(figure, { title, rows: [{ name, value, strong, kind }] });
//   drawSwarm(figure, { title, points: [{ name, x, y, kind, told }], xTitle, writeX, open });

import { clock } from "./format.js";
import { element } from "./picker.js";

const SVG = "http://www.w3.org/2000/svg";
const DOT = 4;

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function drawLines(figure, { title, first, step, series, write, note = "" }) {
  const parts = frame(figure, title, note);
  const { width } = parts;
  const height = 168;
  const box = { left: 38, right: width - 10, top: 10, bottom: height - 24 };
  const points = series[0].values.length;
  const ticks = niceTicks(Math.max(1, ...series.flatMap(({ values }) => values.filter((value) => value !== null))));
  const x = (index) => box.left + ((box.right - box.left) * index) / (points - 1);
  const y = (value) => box.bottom - ((box.bottom - box.top) * value) / ticks.at(-1);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. ${summary(series, write)}` });
  for (const tick of ticks) {
    drawing.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }), text(box.left - 6, y(tick) + 4, write(tick, true), "end"));
  }
  for (const index of timeTicks(first, step, points, width)) drawing.append(text(x(index), height - 6, clock(first + index * step, step), "middle"));
  for (const { kind, values } of series) {
    for (const run of runs(values)) drawing.append(...line(run, x, y, kind, points, series.length === 1 ? box.bottom : null));
  }
  const cursor = svg("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
  drawing.append(cursor);
  follow(drawing, parts.readout, cursor, (px) => {
    const index = Math.max(0, Math.min(points - 1, Math.round(((px - box.left) / (box.right - box.left)) * (points - 1))));
    return [x(index), `${clock(first + index * step, step)}  ${series.map(({ name, values }) => `${name} ${write(values[index])}`).join(" · ")}`];
  });
  parts.put(drawing, series.length > 1 ? legend(series) : null);
  tabulate(figure, ["Time", ...series.map(({ name }) => name)], [...Array(points).keys()].reverse().map((index) => [clock(first + index * step, step), ...series.map(({ values }) => write(values[index]))]));
}

export function drawBars(figure, { title, rows, note = "" }) {
  const parts = frame(figure, title, note);
  const { width } = parts;
  const [label, tall] = [104, 22];
  const most = Math.max(1, ...rows.map(({ value }) => value));
  const height = rows.length * tall + 4;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. ${rows.map(({ name, value }) => `${name} ${value}`).join(", ")}` });
  rows.forEach(({ name, value, strong = 0, kind }, index) => {
    const top = index * tall;
    const long = (of) => ((width - label - 56) * of) / most;
    drawing.append(text(label - 10, top + 16, name, "end", value ? "name" : ""));
    drawing.append(svg("rect", { class: `bar-${kind}`, x: label, y: top + 5, width: Math.max(1, long(value)), height: 14, rx: 2 }));
    if (strong) drawing.append(svg("rect", { class: "bar-strong", x: label, y: top + 5, width: long(strong), height: 14, rx: 2 }));
    drawing.append(text(label + long(value) + 8, top + 16, strong === value && value ? `${value} here` : strong ? `${value} · ${strong} here` : `${value}`, "start", value ? "name" : ""));
  });
  parts.put(drawing);
  tabulate(figure, ["", "People", "Here now"], rows.map(({ name, value, strong = 0 }) => [name, value, strong]));
}

export function drawSwarm(figure, { title, points, xTitle, writeX, open, note = "" }) {
  const parts = frame(figure, title, note);
  const { width } = parts;
  const height = 246;
  const box = { left: 46, right: width - 14, top: 12, bottom: height - 40 };
  const [low, high] = [0.8 * Math.min(1, ...points.map(({ x }) => x)), 1.1 * Math.max(2, ...points.map(({ x }) => x))];
  const x = (value) => box.left + ((box.right - box.left) * Math.log(value / low)) / Math.log(high / low);
  const y = (value) => box.bottom - (box.bottom - box.top) * value;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}: ${points.length} ${points.length === 1 ? "person" : "people"}` });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    drawing.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(share), y2: y(share) }), text(box.left - 6, y(share) + 4, `${100 * share}\u2009%`, "end"));
  }
  for (let tick = 2 ** Math.ceil(Math.log2(low)); tick <= high; tick *= 2) drawing.append(text(x(tick), height - 22, writeX(tick), "middle"));
  drawing.append(text((box.left + box.right) / 2, height - 5, xTitle, "middle"));
  const placed = [];
  const inside = (px) => px >= box.left + DOT && px <= box.right - DOT;
  for (const point of [...points].sort((first, second) => first.x - second.x)) {
    const dot = svg("circle", { class: `dot dot-${point.kind}`, cx: beside(placed, x(point.x), y(point.y), inside), cy: y(point.y), r: DOT });
    dot.addEventListener("click", () => open(point.name));
    dot.addEventListener("pointerenter", () => { parts.readout.textContent = point.told; });
    dot.addEventListener("pointerleave", () => { parts.readout.textContent = ""; });
    drawing.append(dot);
  }
  parts.put(drawing);
  tabulate(figure, ["Person", xTitle, "Success"], points.map((point) => [point.name, writeX(point.x), `${Math.round(100 * point.y)}\u2009%`]));
}

/** A share with its interval, small enough for a table's row; the figures stand beside it. */
export function drawShare(share) {
  const drawing = svg("svg", { class: "share", viewBox: "0 0 160 16", width: 160, height: 16, "aria-hidden": "true" });
  drawing.append(svg("rect", { class: "track", x: 0, y: 4, width: 160, height: 8, rx: 2 }));
  if (share === null) return drawing;
  const [low, middle, high] = [share.low, share.share, share.high].map((value) => 160 * value);
  drawing.append(
    svg("rect", { class: "bar-share", x: 0, y: 4, width: middle, height: 8, rx: 2 }),
    svg("path", { class: "whisker", d: `M${low} 8H${high}M${low} 4.5v7M${high} 4.5v7` }),
  );
  return drawing;
}

/** Make the places of a chart once, and give the width that there is. */
function frame(figure, title, note) {
  if (!figure.firstChild) {
    const table = element("details", "table");
    table.append(element("summary", "", "As a table"), element("div", "scroll"));
    const caption = element("figcaption");
    caption.append(element("h3"), element("span", "readout quiet"));
    figure.append(caption, element("div", "drawing"), table);
  }
  const [heading, readout] = figure.querySelector("figcaption").children;
  heading.textContent = title;
  const place = figure.querySelector(".drawing");
  return {
    width: Math.max(260, Math.floor(place.clientWidth)),
    readout,
    put: (...drawn) => place.replaceChildren(...drawn.filter(Boolean), ...(note ? [element("p", "note quiet", note)] : [])),
  };
}

function tabulate(figure, head, rows) {
  const details = figure.querySelector("details.table");
  const fill = () => {
    const table = element("table");
    const line = (cell, values) => {
      const node = element("tr");
      node.append(...values.map((value, index) => element(index ? cell : "th", index ? "n" : "", String(value))));
      return node;
    };
    const [top, body] = [element("thead"), element("tbody")];
    top.append(line("th", head));
    body.append(...rows.map((values) => line("td", values)));
    table.append(top, body);
    details.lastElementChild.replaceChildren(table);
  };
  details.ontoggle = () => details.open && fill();
  if (details.open) fill();
}

function legend(series) {
  const list = element("ul", "legend");
  list.append(...series.map(({ name, kind }) => element("li", `key-${kind}`, name)));
  return list;
}

function text(x, y, words, anchor, kind = "") {
  return svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
}

function summary(series, write) {
  return series.map(({ name, values }) => `${name}: ${write(values.at(-1))} now, at most ${write(Math.max(0, ...values.filter((value) => value !== null)))}`).join("; ");
}

/** Unbroken stretches of a line, as [index, value]. */
function runs(values) {
  const result = [[]];
  values.forEach((value, index) => (value === null ? result.push([]) : result.at(-1).push([index, value])));
  return result.filter((run) => run.length);
}

/** One stretch: its line, the area below if it stands alone, and its last part open while it is still filling. */
function line(run, x, y, kind, points, floor) {
  const spots = run.map(([index, value]) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
  const filling = run.at(-1)[0] === points - 1 && run.length > 1;
  const whole = filling ? spots.slice(0, -1) : spots;
  const drawn = [svg("path", { class: `line line-${kind}`, d: `M${whole.join("L")}${whole.length === 1 ? "h1.5" : ""}` })];
  if (filling) drawn.push(svg("path", { class: `line line-${kind} filling`, d: `M${spots.slice(-2).join("L")}` }));
  if (floor !== null) drawn.unshift(svg("path", { class: "area", d: `M${x(run[0][0])} ${floor}L${spots.join("L")}L${x(run.at(-1)[0])} ${floor}Z` }));
  return drawn;
}

function follow(drawing, readout, cursor, momentAt) {
  drawing.addEventListener("pointermove", (event) => {
    const [px, words] = momentAt(event.clientX - drawing.getBoundingClientRect().left);
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, px);
    cursor.setAttribute("visibility", "visible");
    readout.textContent = words;
  });
  drawing.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = "";
  });
}

/** Where a dot hides no other: where it belongs, or as near beside it as there is room. */
function beside(placed, x, y, inside) {
  const free = (px) => inside(px) && placed.every((dot) => Math.hypot(dot[0] - px, dot[1] - y) >= 2 * DOT);
  const near = placed.length > 400 ? [0] : [0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6];
  const result = x + 4 * (near.find((offset) => free(x + 4 * offset)) ?? 0);
  placed.push([result, y]);
  return result;
}

function niceTicks(largest) {
  const rough = largest / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((value) => value * power).find((value) => value >= rough && (largest > 4 || value % 0.5 === 0)) ?? 10 * power;
  return [...Array(Math.ceil(largest / step) + 1).keys()].map((value) => value * step);
}

function timeTicks(first, step, points, width) {
  const tickCount = Math.max(2, Math.floor(width / 110));
  const every = [5, 10, 15, 20, 30, 60, 120, 180, 360, 720, 1440, 2880].map((value) => (60 * value) / step).find((value) => value >= 1 && points / value <= tickCount) ?? points;
  const shift = new Date(1000 * first).getTimezoneOffset() * 60;
  const result = [];
  for (let index = 0; index < points; index += 1) if (Math.round((first - shift) / step + index) % every === 0) result.push(index);
  return result;
}
