const data = JSON.parse($("data").textContent);
const colour = Object.fromEntries(data.codecs.map(c => [c.name, c.colour]));
const images = [...new Set(data.rows.map(r => r[0]))];
const FIXED = ["image", "codec", "quality", "bytes", "bpp"];
const COLUMNS = [...FIXED, ...data.metrics.map(m => m.name), "encode ms", "decode ms"];
const hidden = new Set();

$("about").textContent = `${images.length} images, means of per-image values. vaecodec ${data.version}; ` +
  `${data.machine}` + (data.jobs > 1 ? `; ${data.jobs} jobs at once, which makes each slower.` : ".");
options($("metric"), data.metrics.map(m => m.name));
options($("curve-image"), images, "mean of all");

// Curves of one image, from its rows; of all, as computed by the benchmark.
function curves(metric, image) {
  if (!image) return metric.curves;
  const found = {};
  data.rows.forEach((row, i) => {
    if (row[0] === image && metric.values[i] !== null) (found[row[1]] ??= []).push([row[4], metric.values[i]]);
  });
  for (const points of Object.values(found)) points.sort((a, b) => a[0] - b[0]);
  return found;
}
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= rough);
  const values = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) values.push(+v.toFixed(6));
  return values;
}
function plot() {
  const svg = $("plot"), metric = data.metrics.find(m => m.name === $("metric").value), log = $("log").checked;
  svg.replaceChildren();
  const shown = Object.entries(curves(metric, $("curve-image").value)).filter(([name]) => !hidden.has(name));
  const all = shown.flatMap(([, points]) => points);
  if (!all.length) { element(svg, "text", {x: 500, y: 260, "text-anchor": "middle"}, "nothing to show"); return; }
  const box = {left: 64, right: 984, top: 16, bottom: 470};
  let [x0, x1] = [Math.min(...all.map(p => p[0])), Math.max(...all.map(p => p[0]))];
  let [y0, y1] = [Math.min(...all.map(p => p[1])), Math.max(...all.map(p => p[1]))];
  if (!log) x0 = 0;
  if (x0 === x1) { x0 /= 2; x1 *= 2; }
  const margin = (y1 - y0) * 0.04 || 1; y0 -= margin; y1 += margin;
  const f = log ? Math.log : v => v;
  const x = v => box.left + (f(v) - f(x0)) / (f(x1) - f(x0)) * (box.right - box.left - 16) + 8;
  const y = v => box.bottom - (v - y0) / (y1 - y0) * (box.bottom - box.top);
  const marks = log ? [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20].filter(v => v >= x0 && v <= x1) : ticks(x0, x1, 8);
  for (const v of marks) {
    element(svg, "line", {x1: x(v), x2: x(v), y1: box.top, y2: box.bottom, stroke: "#eee"});
    element(svg, "text", {x: x(v), y: box.bottom + 18, "text-anchor": "middle"}, v);
  }
  for (const v of ticks(y0, y1, 8)) {
    element(svg, "line", {x1: box.left, x2: box.right, y1: y(v), y2: y(v), stroke: "#eee"});
    element(svg, "text", {x: box.left - 8, y: y(v) + 4, "text-anchor": "end"}, v);
  }
  element(svg, "text", {x: (box.left + box.right) / 2, y: 508, "text-anchor": "middle"}, "bits per pixel");
  element(svg, "text", {transform: `translate(16 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle"}, metric.label);
  for (const [name, points] of shown) {
    const known = name in colour, stroke = colour[name] ?? "#999";
    const line = points.map(p => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ");
    element(svg, "polyline", {points: line, fill: "none", stroke, "stroke-width": name.startsWith("vae ") ? 2.5 : 1.4,
      ...(known ? {} : {"stroke-dasharray": "5 4"})});
    for (const p of points) {
      const dot = element(svg, "circle", {cx: x(p[0]), cy: y(p[1]), r: known ? 4 : 2.5, fill: stroke});
      element(dot, "title", {}, `${name}: ${p[0].toFixed(3)} bpp, ${p[1].toFixed(3)}`);
    }
  }
}
function legend() {
  const names = [...new Set(data.metrics.flatMap(m => Object.keys(m.curves)))];
  for (const name of names) {
    const label = element($("legend"), "label");
    const box = element(label, "input", {type: "checkbox"});
    box.checked = true;
    box.addEventListener("change", () => { box.checked ? hidden.delete(name) : hidden.add(name); plot(); });
    element(label, "i").style.background = colour[name] ?? "#999";
    element(label, "span", {}, name);
  }
}
function matrix() {
  const metric = data.metrics.find(m => m.name === $("metric").value), table = $("bd");
  $("bd-about").textContent = `Rate of the column against the row at equal ${metric.label}, ${data.interpolation} ` +
    "interpolation of the mean curves; less is better. Empty: the curves overlap too little.";
  table.replaceChildren();
  const names = Object.keys(metric.bd), measured = names.filter(n => n in colour);
  const head = element(table, "tr");
  element(head, "th", {}, "against");
  for (const name of measured) element(head, "th", {}, name);
  for (const anchor of names) {
    const line = element(table, "tr");
    element(line, "td", {}, anchor);
    for (const name of measured) {
      const value = metric.bd[anchor][name];
      const text = name === anchor || value === null ? "" : `${value > 0 ? "+" : ""}${value.toFixed(1)} %`;
      element(line, "td", {class: value < 0 ? "good" : "bad"}, text);
    }
  }
}
let sorted = {column: 0, down: false};
function rows() {
  const table = $("rows"), image = $("row-image").value, codec = $("row-codec").value;
  table.replaceChildren();
  const head = element(table, "tr");
  COLUMNS.forEach((name, column) => {
    const by = sorted.column === column, order = sorted.down ? "descending" : "ascending";
    const cell = element(head, "th", {"aria-sort": by ? order : "none"});
    element(cell, "button", {type: "button"}, name + (by ? (sorted.down ? " ↓" : " ↑") : "")).addEventListener("click", () => {
      sorted = {column, down: by && !sorted.down};
      rows();
      table.querySelectorAll("th button")[column].focus();
    });
  });
  const shown = data.rows.filter(r => (!image || r[0] === image) && (!codec || r[1] === codec));
  const sign = sorted.down ? -1 : 1, c = sorted.column;
  shown.sort((a, b) => sign * (a[c] === b[c] ? 0 : a[c] === null ? 1 : b[c] === null ? -1 : a[c] < b[c] ? -1 : 1));
  const limit = 1000;
  for (const row of shown.slice(0, limit)) {
    const line = element(table, "tr");
    row.forEach((value, i) => element(line, "td", {}, value === null ? "–" : i === 4 ? value.toFixed(4) : value));
  }
  if (shown.length > limit)
    element(element(table, "tr"), "td", {colspan: COLUMNS.length}, `${shown.length - limit} more: choose an image or a codec`);
}
let sideBySide;
function choosePicture() {
  const picture = JSON.parse($(`picture-${data.pictures.indexOf($("image").value)}`).textContent);
  const src = image => "data:image/webp;base64," + image;
  const versions = data.codecs.filter(c => c.name in picture.codecs).map(({name}) => {
    const match = picture.codecs[name], decibels = match.psnr === null ? "" : `, ${match.psnr.toFixed(2)} dB`;
    const caption = `${name}: ${match.bytes} bytes, ${match.bpp.toFixed(3)} bpp, quality ${match.quality}${decibels}`;
    return {name, src: src(match.picture), caption};
  });
  versions.push({name: "original", src: src(picture.original), caption: "original"});
  const own = versions.find(v => v.name.startsWith("vae ")) ?? versions.at(-1);
  const anchor = versions.find(v => v.name === data.anchor) ?? versions[0];
  sideBySide.show(versions, {left: anchor.name, right: own.name});
}
function compare() {
  if (!data.pictures.length) { $("compare").remove(); return; }
  $("compare-about").textContent = `The middle of each picture; for every codec its largest file of at most ${data.bpp} bits ` +
    "per pixel (or its smallest, if that is larger). Drag the boundary, or use the arrow keys.";
  options($("image"), data.pictures);
  $("image").addEventListener("change", choosePicture);
  sideBySide = viewer($("viewer"));
  choosePicture();
}
function settings() {
  for (const c of data.codecs) {
    const line = element($("settings"), "tr");
    element(line, "td", {}, c.name);
    element(line, "td", {}, c.settings).style.textAlign = "left";
  }
  for (const m of data.metrics) {
    const line = element($("settings"), "tr");
    element(line, "td", {}, m.name);
    element(line, "td", {}, m.version).style.textAlign = "left";
  }
}
options($("row-image"), images, "all");
options($("row-codec"), data.codecs.map(c => c.name), "all");
$("metric").addEventListener("change", () => { plot(); matrix(); });
for (const id of ["curve-image", "log"]) $(id).addEventListener("change", plot);
for (const id of ["row-image", "row-codec"]) $(id).addEventListener("change", rows);
legend(); plot(); matrix(); rows(); compare(); settings();
