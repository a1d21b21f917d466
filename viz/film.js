"use strict";
// Shows what was recorded while training, moment by moment. Everything was computed and scaled in Python.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const NEGATIVE = [118, 42, 131], ZERO = [247, 247, 247], POSITIVE = [27, 120, 55], BLUE = [0, 103, 165];
const UNKNOWN = [138, 90, 0]; // what is no number
const PAUSE = 220; // milliseconds for one moment
const state = { moment: 0, timer: 0 };
const last = data.moments.length - 1;
const drawings = []; // each draws one figure at a moment

// Elements ------------------------------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Pictures ------------------------------------------------------------------------------------------------------------

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const mix = (from, to, share) => from.map((part, at) => part + share * (to[at] - part));

function paint(canvas, rows, columns, colorOf) { // one pixel a cell
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let at = 0; at < rows * columns; at++) image.data.set([...colorOf(at), 255], 4 * at);
  context.putImageData(image, 0, 0);
}

function signed(cell) {
  if (cell === 255) return UNKNOWN;
  const share = (cell - 127) / 127;
  return mix(ZERO, share > 0 ? POSITIVE : NEGATIVE, Math.abs(share));
}

const attended = (cell) => (cell === 255 ? UNKNOWN : mix([255, 255, 255], BLUE, Math.max(0, (cell - 127) / 127)));

function figure(group, { name, shape, size: [rows, columns], cells, norms }) {
  const canvas = element("canvas", { width: columns, height: rows, role: "img", "aria-label": `${group.title}: ${name}` });
  canvas.style.aspectRatio = Math.max(0.9, Math.min(columns / rows, 3.6)); // a single row is no hair, a column no tower
  const norm = element("span");
  drawings.push((moment) => {
    norm.textContent = `${shape}  ${norms[moment]}`;
    const known = cells[moment] && bytes(cells[moment]);
    canvas.style.opacity = known ? 1 : 0.15;
    if (known) paint(canvas, rows, columns, (at) => (group.kind === "attention" ? attended : signed)(known[at]));
  });
  return element("figure", {}, canvas, element("figcaption", {}, name, norm));
}

function boundary({ side, grids, points, colors, title }) {
  const rgb = colors.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  const canvas = element("canvas", { width: side, height: side, role: "img", "aria-label": title });
  const over = drawn("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" });
  for (const [x, y, label] of points) over.append(drawn("circle", { cx: x, cy: y, r: 0.012, fill: colors[label % colors.length] }));
  drawings.push((moment) => {
    if (!grids[moment]) return;
    const cells = bytes(grids[moment]);
    paint(canvas, side, side, (at) => mix([255, 255, 255], rgb[cells[2 * at] % rgb.length], 0.62 * (cells[2 * at + 1] / 255) ** 2));
  });
  return element("section", {}, element("h2", {}, title), element("div", { class: "map" }, canvas, over));
}

function buildReel() {
  const sections = data.groups.map((group) => element("section", {}, element("h2", {}, group.title),
    element("div", { class: `figures ${group.kind}` }, ...group.figures.map((each) => figure(group, each)))));
  const reel = byId("reel");
  reel.classList.toggle("mapped", Boolean(data.boundary));
  reel.replaceChildren(...(data.boundary ? [boundary(data.boundary)] : []), element("div", {}, ...sections));
}

function buildCurve() {
  const { width, height } = data.curve, curve = byId("curve");
  curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
  curve.append(drawn("path", { d: line(last) }), drawn("path", { class: "past" }), drawn("line", { y1: 0, y2: height }));
}

function line(until) {
  let pen = "M";
  return data.curve.points.slice(0, until + 1).map((point) => {
    const part = point ? pen + point.join(",") : "";
    pen = point ? "L" : "M";
    return part;
  }).join("");
}

// Moments -------------------------------------------------------------------------------------------------------------

function show(moment, playing = false) {
  state.moment = Math.max(0, Math.min(last, moment));
  for (const draw of drawings) draw(state.moment);
  const x = (data.curve.width * state.moment) / Math.max(last, 1), cursor = byId("curve").querySelector("line");
  byId("curve").querySelector(".past").setAttribute("d", line(state.moment));
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  byId("said").textContent = data.moments[state.moment].said;
  byId("progress").value = state.moment;
  byId("progress").setAttribute("aria-valuetext", data.moments[state.moment].said);
  byId("previous").disabled = state.moment === 0;
  byId("next").disabled = state.moment === last;
  if (!playing) pause();
}

function play() {
  if (state.moment === last) show(0);
  mark(true);
  state.timer = setInterval(() => {
    show(state.moment + 1, true);
    if (state.moment === last) pause();
  }, PAUSE);
}

function pause() {
  clearInterval(state.timer);
  state.timer = 0;
  mark(false);
}

function mark(playing) {
  const button = byId("play"), label = playing ? data.pause : data.play;
  button.classList.toggle("playing", playing);
  button.setAttribute("aria-label", label);
  button.title = label;
  byId("said").setAttribute("aria-live", playing ? "off" : "polite"); // nobody can listen so fast
}

// Keys and buttons ----------------------------------------------------------------------------------------------------

const ACTIONS = {
  ArrowRight: () => show(state.moment + 1),
  ArrowLeft: () => show(state.moment - 1),
  Home: () => show(0),
  End: () => show(last),
  " ": () => (state.timer ? pause() : play()),
};

function key(event) {
  const action = ACTIONS[event.key], presses = event.key === " " && event.target.closest?.("button");
  if (!action || presses || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

byId("progress").max = last;
byId("progress").addEventListener("input", (event) => show(Number(event.target.value)));
byId("previous").addEventListener("click", ACTIONS.ArrowLeft);
byId("next").addEventListener("click", ACTIONS.ArrowRight);
byId("play").addEventListener("click", ACTIONS[" "]);
byId("theme").addEventListener("click", toggleTheme);
document.addEventListener("keydown", key);
buildReel();
buildCurve();
show(0);
