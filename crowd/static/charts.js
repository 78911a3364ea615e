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
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function drawLines(figure, { title, first, step, series, write, note = "" }) {
  const parts = frame(figure, title, note);
  const { width } = parts;
  const height = 168;
  const box = { left: 38, right: width - 10, top: 10, bottom: height - 24 };
  const points = series[0].values.length;
  const ticks = niceTicks(Math.max(1, ...series.flatMap(({ values }) => values.filter((one) => one !== null))));
  const x = (at) => box.left + ((box.right - box.left) * at) / (points - 1);
  const y = (value) => box.bottom - ((box.bottom - box.top) * value) / ticks.at(-1);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. ${said(series, write)}` });
  for (const tick of ticks) {
    drawing.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }), text(box.left - 6, y(tick) + 4, write(tick, true), "end"));
  }
  for (const at of timeTicks(first, step, points, width)) drawing.append(text(x(at), height - 6, clock(first + at * step, step), "middle"));
  for (const { kind, values } of series) {
    for (const run of runs(values)) drawing.append(...line(run, x, y, kind, points, series.length === 1 ? box.bottom : null));
  }
  const cursor = svg("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
  drawing.append(cursor);
  follow(drawing, parts.readout, cursor, (px) => {
    const at = Math.max(0, Math.min(points - 1, Math.round(((px - box.left) / (box.right - box.left)) * (points - 1))));
    return [x(at), `${clock(first + at * step, step)}  ${series.map(({ name, values }) => `${name} ${write(values[at])}`).join(" · ")}`];
  });
  parts.put(drawing, series.length > 1 ? legend(series) : null);
  tabulate(figure, ["Time", ...series.map(({ name }) => name)], [...Array(points).keys()].reverse().map((at) => [clock(first + at * step, step), ...series.map(({ values }) => write(values[at]))]));
}

export function drawBars(figure, { title, rows, note = "" }) {
  const parts = frame(figure, title, note);
  const { width } = parts;
  const [label, tall] = [104, 22];
  const most = Math.max(1, ...rows.map(({ value }) => value));
  const height = rows.length * tall + 4;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. ${rows.map(({ name, value }) => `${name} ${value}`).join(", ")}` });
  rows.forEach(({ name, value, strong = 0, kind }, at) => {
    const top = at * tall;
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
  const inside = (at) => at >= box.left + DOT && at <= box.right - DOT;
  for (const point of [...points].sort((one, other) => one.x - other.x)) {
    const dot = svg("circle", { class: `dot dot-${point.kind}`, cx: beside(placed, x(point.x), y(point.y), inside), cy: y(point.y), r: DOT });
    dot.addEventListener("click", () => open(point.name));
    dot.addEventListener("pointerenter", () => { parts.readout.textContent = point.told; });
    dot.addEventListener("pointerleave", () => { parts.readout.textContent = ""; });
    drawing.append(dot);
  }
  parts.put(drawing);
  tabulate(figure, ["Person", xTitle, "Success"], points.map((one) => [one.name, writeX(one.x), `${Math.round(100 * one.y)}\u2009%`]));
}

/** A share with its interval, small enough for a table's row; the figures stand beside it. */
export function drawShare(share) {
  const drawing = svg("svg", { class: "share", viewBox: "0 0 160 16", width: 160, height: 16, "aria-hidden": "true" });
  drawing.append(svg("rect", { class: "track", x: 0, y: 4, width: 160, height: 8, rx: 2 }));
  if (share === null) return drawing;
  const [low, at, high] = [share.low, share.share, share.high].map((one) => 160 * one);
  drawing.append(
    svg("rect", { class: "bar-share", x: 0, y: 4, width: at, height: 8, rx: 2 }),
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
      const made = element("tr");
      made.append(...values.map((value, at) => element(at ? cell : "th", at ? "n" : "", String(value))));
      return made;
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

function said(series, write) {
  return series.map(({ name, values }) => `${name}: ${write(values.at(-1))} now, at most ${write(Math.max(0, ...values.filter((one) => one !== null)))}`).join("; ");
}

/** Unbroken stretches of a line, as [index, value]. */
function runs(values) {
  const found = [[]];
  values.forEach((value, at) => (value === null ? found.push([]) : found.at(-1).push([at, value])));
  return found.filter((run) => run.length);
}

/** One stretch: its line, the area below if it stands alone, and its last part open while it is still filling. */
function line(run, x, y, kind, points, floor) {
  const spots = run.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
  const filling = run.at(-1)[0] === points - 1 && run.length > 1;
  const whole = filling ? spots.slice(0, -1) : spots;
  const drawn = [svg("path", { class: `line line-${kind}`, d: `M${whole.join("L")}${whole.length === 1 ? "h1.5" : ""}` })];
  if (filling) drawn.push(svg("path", { class: `line line-${kind} filling`, d: `M${spots.slice(-2).join("L")}` }));
  if (floor !== null) drawn.unshift(svg("path", { class: "area", d: `M${x(run[0][0])} ${floor}L${spots.join("L")}L${x(run.at(-1)[0])} ${floor}Z` }));
  return drawn;
}

function follow(drawing, readout, cursor, at) {
  drawing.addEventListener("pointermove", (event) => {
    const [px, words] = at(event.clientX - drawing.getBoundingClientRect().left);
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
  const free = (at) => inside(at) && placed.every((one) => Math.hypot(one[0] - at, one[1] - y) >= 2 * DOT);
  const near = placed.length > 400 ? [0] : [0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6];
  const found = x + 4 * (near.find((one) => free(x + 4 * one)) ?? 0);
  placed.push([found, y]);
  return found;
}

function niceTicks(largest) {
  const rough = largest / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough && (largest > 4 || one % 0.5 === 0)) ?? 10 * power;
  return [...Array(Math.ceil(largest / step) + 1).keys()].map((one) => one * step);
}

function timeTicks(first, step, points, width) {
  const wanted = Math.max(2, Math.floor(width / 110));
  const every = [5, 10, 15, 20, 30, 60, 120, 180, 360, 720, 1440, 2880].map((one) => (60 * one) / step).find((one) => one >= 1 && points / one <= wanted) ?? points;
  const shift = new Date(1000 * first).getTimezoneOffset() * 60;
  const found = [];
  for (let at = 0; at < points; at += 1) if (Math.round((first - shift) / step + at) % every === 0) found.push(at);
  return found;
}
