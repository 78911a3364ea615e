// Downloads without a network: files that the page holds, compressed, and each plot as it is drawn here, in
// the colours of paper.

const held = JSON.parse(document.getElementById("files-held").textContent);
const PIXELS = 4; // of a PNG, to a unit of its drawing
const MARGIN = 4; // units around a drawing

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).blob();
}

// numbers stand beside a drawing, outside of its view: a file is as large as all of it
function bounds(drawing) {
  const { x, y, width, height } = drawing.viewBox.baseVal;
  const box = drawing.getBBox();
  const left = Math.min(x, box.x) - MARGIN;
  const top = Math.min(y, box.y) - MARGIN;
  const right = Math.max(x + width, box.x + box.width) + MARGIN;
  const bottom = Math.max(y + height, box.y + box.height) + MARGIN;
  return { left, top, width: right - left, height: bottom - top };
}

function svgText(drawing) {
  const copy = drawing.cloneNode(true);
  const { left, top, width, height } = bounds(drawing);
  copy.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
  copy.setAttribute("width", `${width}pt`);
  copy.setAttribute("height", `${height}pt`);
  for (const one of copy.querySelectorAll("text")) {
    one.style.fontFamily = "'DejaVu Sans', Helvetica, Arial, sans-serif";
  }
  return new XMLSerializer().serializeToString(copy)
    .replace(/var\(--([\w-]+)\)/g, (_, name) => held.colours[name] ?? "#000");
}

async function png(drawing) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(drawing))}`;
  await image.decode();
  const { width, height } = bounds(drawing);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * PIXELS);
  canvas.height = Math.round(height * PIXELS);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

function fileName(figure) {
  const heading = figure.querySelector("figcaption").textContent;
  const section = figure.closest("section").id;
  return `${section}-${heading.replace(/[^A-Za-z0-9._]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "figure"}`;
}

for (const button of document.querySelectorAll("[data-file]")) {
  button.addEventListener("click", async () => {
    save(await unpacked(held.files[button.dataset.file]), button.dataset.file);
  });
}

for (const figure of document.querySelectorAll("figure.panel")) {
  const drawing = figure.querySelector("svg");
  const heading = figure.querySelector("figcaption").textContent;
  const row = document.createElement("div");
  row.className = "files";
  for (const kind of ["SVG", "PNG"]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind;
    button.setAttribute("aria-label", `${kind} of ${heading}`);
    button.addEventListener("click", async () => {
      const blob = kind === "SVG" ? new Blob([svgText(drawing)], { type: "image/svg+xml" }) : await png(drawing);
      save(blob, `${fileName(figure)}.${kind.toLowerCase()}`);
    });
    row.append(button);
  }
  figure.append(row);
}
