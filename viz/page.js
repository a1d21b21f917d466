"use strict";
// Steps through a recorded graph. All layouts, frames, numbers and sentences were computed in Python; here they are shown.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const ui = data.ui;
const stage = byId("stage");
const MARGIN = 16; // pixels around the picture
const LEGIBLE = 1.3; // the scale below which the letters of a card are too small
const LARGEST = 1.7; // the scale up to which a small picture is enlarged

const state = {
  view: data.start, // which layout
  frame: 0, // which of its frames
  picked: "", // a card that was clicked, whose details are shown instead
  rate: data.update ? data.update.start : 0, // which step size
  timer: 0, // of the next frame while playing
  following: true, // whether the camera goes along
};
const camera = { x: 0, y: 0, scale: 1 };
const pictures = []; // one for each layout that was shown: its SVG, its boxes, and when what appears

const view = () => data.views[state.view];
const frame = () => view().frames[state.frame];
const picture = () => pictures[state.view];
const clamp = (low, value, high) => Math.max(low, Math.min(high, value));

// Elements ------------------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

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

// Frames --------------------------------------------------------------------------------------------------------------

function show(number, options = {}) {
  state.frame = clamp(0, number, view().frames.length - 1);
  state.picked = "";
  document.documentElement.dataset.phase = frame().phase;
  showPicture();
  showNumbers();
  showWords();
  showProgress();
  showPanel();
  rememberPlace();
  if (state.following) aim(); else keepInSight();
  if (!options.playing) pause();
}

function showPicture() {
  const { svg, born } = picture();
  for (const [part, at] of born) part.classList.toggle("future", at > state.frame);
  for (const old of svg.querySelectorAll(".now, .picked, .flow")) old.classList.remove("now", "picked", "flow");
  const part = (id) => svg.querySelector("#" + CSS.escape(id));
  const moved = frame().key === "update" && data.update ? data.update.moved : [];
  for (const id of [frame().card, ...moved]) if (id) part(id)?.classList.add("now");
  for (const id of frame().flows) part(id)?.classList.add("flow");
}

function showWords() {
  const texts = wordsOf(frame());
  byId("caption").textContent = texts.caption;
  byId("sums").replaceChildren(...texts.mathematics.map(ruleBox));
  for (const item of byId("words").querySelectorAll("li")) {
    if (item.dataset.key === frame().key) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
}

function wordsOf(which) { // the captions of gradient descent depend on the step size
  const changed = data.update && data.update.rates[state.rate].captions[which.key];
  return { caption: changed || which.caption, mathematics: which.mathematics };
}

function ruleBox([rule, numbers]) {
  const box = element("div", { class: frame().phase === "forward" ? "rule forward" : "rule" }, element("b", {}, rule));
  if (numbers) box.append(element("span", {}, numbers));
  return box;
}

function showProgress() {
  const progress = byId("progress"), last = view().frames.length - 1;
  progress.max = last;
  progress.value = state.frame;
  const place = ui.step_of.replace("{number}", state.frame + 1).replace("{count}", last + 1);
  progress.setAttribute("aria-valuetext", place);
  byId("count").textContent = `${state.frame + 1} / ${last + 1}`;
  byId("previous").disabled = state.frame === 0;
  byId("next").disabled = state.frame === last;
  for (const button of byId("phases").children) {
    if (button.dataset.phase === frame().phase) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
}

function rememberPlace() {
  try {
    history.replaceState(null, "", "#" + frame().key);
  } catch { /* a page within a notebook has no address */ }
}

function showPhases() {
  const phases = [...new Set(view().frames.map((each) => each.phase))];
  byId("phases").replaceChildren(...phases.map((phase) => {
    const button = element("button", { type: "button", "data-phase": phase }, ui["phase_" + phase]);
    button.addEventListener("click", () => show(view().frames.findIndex((each) => each.phase === phase)));
    return button;
  }));
}

function visitLink() {
  const key = decodeURIComponent(location.hash.slice(1));
  const order = [state.view, ...data.views.keys()];
  const found = order.find((index) => data.views[index].frames.some((each) => each.key === key));
  if (found === undefined) return false;
  if (found !== state.view) change(found);
  show(view().frames.findIndex((each) => each.key === key));
  return true;
}

// The numbers in the picture: as recorded, or in the frames of gradient descent as they are then
function showNumbers() {
  const { svg } = picture();
  for (const old of svg.querySelectorAll(".changed")) {
    old.textContent = old.recorded;
    old.setAttribute("x", old.left);
    old.classList.remove("changed");
  }
  if (frame().phase !== "update" || !data.update) return;
  const { numbers } = data.update.rates[state.rate], ids = frame().key === "after" ? Object.keys(numbers) : data.update.moved;
  for (const id of ids) {
    const number = svg.querySelector(`#${CSS.escape("a_v-" + id)} text`);
    if (number && numbers[id] !== undefined && number.textContent !== numbers[id]) replaceNumber(number, numbers[id]);
  }
}

function replaceNumber(number, text) { // in its place, which ends where the old one ended
  const box = number.getBBox();
  number.recorded = number.textContent;
  number.left = number.getAttribute("x");
  number.setAttribute("x", box.x + box.width);
  number.textContent = text;
  number.classList.add("changed");
}

// Playing -------------------------------------------------------------------------------------------------------------

function play() {
  if (state.frame === view().frames.length - 1) show(0);
  mark(true);
  schedule();
}

function pause() {
  clearTimeout(state.timer);
  state.timer = 0;
  mark(false);
}

function mark(playing) {
  const button = byId("play"), label = playing ? ui.pause : ui.play;
  button.classList.toggle("playing", playing);
  button.setAttribute("aria-label", label);
  button.title = label;
}

function schedule() { // as long as it takes to read what is said
  const letters = wordsOf(frame()).caption.length * (data.lang === "zh" ? 3 : 1);
  state.timer = setTimeout(() => {
    show(state.frame + 1, { playing: true });
    if (state.frame < view().frames.length - 1) schedule(); else pause();
  }, 1300 + 38 * letters);
}

const togglePlaying = () => (state.timer ? pause() : play());

// Pictures ------------------------------------------------------------------------------------------------------------

function mount(index) {
  if (!pictures[index]) {
    const svg = index === data.start ? stage.querySelector("svg")
      : byId("view-" + index).content.querySelector("svg").cloneNode(true);
    pictures[index] = { svg };
  }
  const { svg } = pictures[index];
  stage.replaceChildren(svg);
  if (!pictures[index].boxes) measure(pictures[index], data.views[index]);
}

function measure(made, layout) {
  const { svg } = made, own = svg.viewBox.baseVal;
  svg.setAttribute("width", own.width);
  svg.setAttribute("height", own.height);
  svg.setAttribute("role", "group");
  made.width = own.width;
  made.height = own.height;
  const moved = svg.querySelector("g.graph").transform.baseVal.consolidate().matrix;
  made.boxes = {};
  for (const node of svg.querySelectorAll("g.node")) {
    const box = node.getBBox();
    made.boxes[node.id] = { x: box.x + moved.e, y: box.y + moved.f, width: box.width, height: box.height };
    if (!layout.folds[node.id]) node.addEventListener("click", () => clickCard(node.id));
  }
  made.born = layout.frames.flatMap((each, at) => each.shows.map((id) => [svg.querySelector("#" + CSS.escape(id)), at]))
    .filter(([part]) => part);
  for (const [id, target] of Object.entries(layout.folds)) makeFold(svg.querySelector("#" + CSS.escape(id)), target);
}

function makeFold(part, target) {
  if (!part) return;
  part.classList.add("folds");
  part.setAttribute("tabindex", "0");
  part.setAttribute("role", "button");
  part.setAttribute("aria-expanded", part.classList.contains("cluster"));
  part.setAttribute("aria-label", ui.toggle + ": " + (part.querySelector("title")?.textContent || part.id));
  const act = (event) => {
    event.stopPropagation();
    if (!stage.moved) fold(target, part.id);
  };
  const heads = part.classList.contains("cluster") ? part.querySelectorAll("text") : [part]; // of a box, its title
  for (const head of heads) head.addEventListener("click", act);
  part.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act(event);
  });
}

function clickCard(id) {
  if (stage.moved) return; // it was a drag
  const own = view().frames.findIndex((each) => each.phase === frame().phase && each.card === id && each.shows.length);
  if (own >= 0) return show(own);
  pick(id);
}

function pick(id) {
  pause();
  for (const old of picture().svg.querySelectorAll(".picked")) old.classList.remove("picked");
  state.picked = id;
  picture().svg.querySelector("#" + CSS.escape(id))?.classList.add("picked");
  showPanel();
}

// Folding -------------------------------------------------------------------------------------------------------------

function change(index) {
  state.view = index;
  mount(index);
  showPhases();
  drawMinimap();
  byId("fold").disabled = view().less === null;
  byId("unfold").disabled = view().more === null;
  byId("fold").hidden = byId("unfold").hidden = data.views.length === 1;
}

function fold(index, id) { // to the frame of the other layout that is about the same op
  if (index === null || index === state.view) return;
  const { phase, place, key } = frame();
  change(index);
  const same = view().frames.findIndex((each) => each.key === key && each.place === place);
  const near = view().frames.map((each, at) => [each.phase === phase ? Math.abs(each.place - place) : 1e9, at]);
  show(same >= 0 ? same : near.reduce((best, each) => (each[0] < best[0] ? each : best))[1]);
  if (id) picture().svg.querySelector("#" + CSS.escape(id))?.focus({ preventScroll: true });
}

// Camera --------------------------------------------------------------------------------------------------------------

function room() {
  return { width: stage.clientWidth, height: stage.clientHeight };
}

function place(glide = true) {
  stage.classList.toggle("gliding", glide);
  picture().svg.style.transform = `translate(${camera.x}px, ${camera.y}px) scale(${camera.scale})`;
  showSight();
}

function fitting() {
  const { width, height } = room();
  return Math.min((width - 2 * MARGIN) / picture().width, (height - 2 * MARGIN) / picture().height, LARGEST);
}

function lookAt(x, y, scale, glide = true) { // the point in the middle; no further than the edge of the picture
  const { width, height } = room();
  camera.scale = scale;
  camera.x = along(x, scale, width, picture().width);
  camera.y = along(y, scale, height, picture().height);
  place(glide);
}

function along(at, scale, space, size) {
  if (size * scale <= space - 2 * MARGIN) return (space - size * scale) / 2;
  return clamp(space - size * scale - MARGIN, space / 2 - at * scale, MARGIN);
}

function showAll(glide = true) {
  state.following = true;
  lookAt(picture().width / 2, picture().height / 2, fitting(), glide);
}

function aim(glide = true) { // at what the frame is about, large enough to be read
  const card = picture().boxes[frame().card];
  const { width, height } = room();
  if (!card) return lookAt(picture().width / 2, picture().height / 2, fitting(), glide);
  const scale = Math.max(fitting(), Math.min(LEGIBLE, (width - 2 * MARGIN) / card.width, (height - 2 * MARGIN) / card.height));
  const around = frame().near.map((id) => picture().boxes[id]).filter(Boolean).reduce(union, card);
  const fits = around.width * scale <= width && around.height * scale <= height;
  const focus = fits ? around : card;
  lookAt(focus.x + focus.width / 2, focus.y + focus.height / 2, scale, glide);
}

function union(a, b) {
  const x = Math.min(a.x, b.x), y = Math.min(a.y, b.y);
  const right = Math.max(a.x + a.width, b.x + b.width), bottom = Math.max(a.y + a.height, b.y + b.height);
  return { x, y, width: right - x, height: bottom - y };
}

function keepInSight() {
  const card = picture().boxes[frame().card];
  if (!card) return;
  const { width, height } = room(), { x, y, scale } = camera;
  const inside = card.x * scale + x >= 0 && (card.x + card.width) * scale + x <= width &&
    card.y * scale + y >= 0 && (card.y + card.height) * scale + y <= height;
  if (!inside) lookAt(card.x + card.width / 2, card.y + card.height / 2, scale);
}

function zoom(factor, at, glide = true) {
  state.following = false;
  const { width, height } = room(), { x, y } = at || { x: width / 2, y: height / 2 };
  const scale = clamp(Math.min(0.05, fitting()), camera.scale * factor, 6);
  camera.x = x - (x - camera.x) * scale / camera.scale;
  camera.y = y - (y - camera.y) * scale / camera.scale;
  camera.scale = scale;
  place(glide);
}

function pan(dx, dy) {
  state.following = false;
  const { width, height } = room(), part = 60; // so much of the picture always stays in sight
  camera.x = clamp(part - picture().width * camera.scale, camera.x + dx, width - part);
  camera.y = clamp(part - picture().height * camera.scale, camera.y + dy, height - part);
  place(false);
}

// Pointers: one drags, two pinch
const pointers = new Map();

function pointerDown(event) {
  if (event.button) return;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (pointers.size === 1) stage.moved = false;
}

function pointerMove(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = { x: event.clientX, y: event.clientY };
  if (!stage.moved && Math.hypot(now.x - before.x, now.y - before.y) < 4) return;
  stage.moved = true;
  stage.setPointerCapture(event.pointerId);
  stage.classList.add("dragging");
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) pinch(before, now, other); else pan(now.x - before.x, now.y - before.y);
  pointers.set(event.pointerId, now);
}

function pinch(before, now, other) {
  const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
  const frameBox = stage.getBoundingClientRect();
  const middle = { x: (now.x + other.x) / 2 - frameBox.x, y: (now.y + other.y) / 2 - frameBox.y };
  zoom(distance(now) / distance(before), middle, false);
}

function pointerUp(event) {
  pointers.delete(event.pointerId);
  stage.classList.remove("dragging");
}

function wheel(event) {
  event.preventDefault();
  const own = stage.getBoundingClientRect();
  const lines = event.deltaMode === 1 ? 16 : 1; // some browsers count lines
  zoom(Math.exp(-event.deltaY * lines * 0.0016), { x: event.clientX - own.x, y: event.clientY - own.y }, false);
}

// Overview ------------------------------------------------------------------------------------------------------------

function drawMinimap() {
  const map = byId("minimap"), { width, height, boxes, svg } = picture();
  const scale = Math.min(150 / width, 150 / height);
  map.setAttribute("viewBox", `0 0 ${width} ${height}`);
  map.setAttribute("width", width * scale);
  map.setAttribute("height", height * scale);
  const title = map.querySelector("title");
  const rects = Object.entries(boxes).map(([id, box]) => {
    const made = drawn("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 8, "data-card": id });
    if (!svg.querySelector("#" + CSS.escape(id)).classList.contains("op")) made.classList.add("leaf");
    return made;
  });
  map.replaceChildren(title, ...rects, drawn("rect", { class: "sight" }));
}

function showSight() {
  const map = byId("minimap"), { width, height } = room(), { x, y, scale } = camera;
  const all = picture().width * scale <= width + 2 && picture().height * scale <= height + 2 && x >= -2 && y >= -2;
  map.toggleAttribute("hidden", all);
  const sight = map.querySelector(".sight");
  const left = clamp(0, -x / scale, picture().width), top = clamp(0, -y / scale, picture().height);
  sight.setAttribute("x", left);
  sight.setAttribute("y", top);
  sight.setAttribute("width", clamp(0, (width - x) / scale, picture().width) - left);
  sight.setAttribute("height", clamp(0, (height - y) / scale, picture().height) - top);
  for (const rect of map.querySelectorAll("[data-card]")) rect.classList.toggle("here", rect.dataset.card === frame().card);
}

function visitSpot(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const own = byId("minimap").getBoundingClientRect();
  state.following = false;
  const x = (event.clientX - own.x) / own.width, y = (event.clientY - own.y) / own.height;
  lookAt(x * picture().width, y * picture().height, camera.scale, event.type !== "pointermove");
}

// Details -------------------------------------------------------------------------------------------------------------

function showPanel() {
  const panel = byId("panel"), card = data.cards[state.picked || frame().card];
  const parts = !state.picked && frame().phase === "update" && data.update ? descent() : card ? details(card) : overview();
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
}

function overview() {
  return [element("h2", {}, data.title), keyTable(), element("p", { class: "quiet" }, ui.pointer)];
}

function keyTable() {
  const rows = ui.keys.split("; ").map((line) => {
    const [keys, meaning] = line.split(": ");
    const caps = keys.split(" ").map((key) => element("kbd", {}, key)).flatMap((cap) => [cap, " "]);
    return element("tr", {}, element("th", { scope: "row" }, ...caps), element("td", {}, meaning));
  });
  return element("table", { class: "keys" }, element("tbody", {}, ...rows));
}

function details(card) {
  const quiet = (text) => element("p", { class: "quiet" }, text);
  const told = card.rules.length && rulesAreTold(state.picked || frame().card);
  const parts = [element("h2", {}, card.title), quiet(card.kind)];
  if (card.module) parts.push(quiet(`${ui.module}: ${card.module}`));
  if (card.run) parts.push(element("h3", {}, ui.computed), quiet(card.computes), formula(card.run, "rule forward"));
  if (told) {
    parts.push(element("h3", {}, ui.mathematics), quiet(card.passes), ...card.rules.map((rule) => formula(rule, "rule")));
    if (card.kept) parts.push(quiet(`${ui.kept}: ${card.kept}`));
  }
  parts.push(element("h3", {}, ui.value), statistics(card.value, "of-value"));
  const known = gradientIsKnown(state.picked || frame().card);
  if (card.gradient && known) parts.push(element("h3", {}, ui.gradient), statistics(card.gradient, "of-gradient"));
  else if (card.reason) parts.push(quiet(card.reason));
  return parts;
}

function rulesAreTold(id) { // from the frame on in which the gradient passes this card
  const own = (each) => each.phase === "backward" && each.card === id && /^[1-9]/.test(each.key);
  const at = view().frames.findIndex(own);
  return at >= 0 && at <= state.frame;
}

function gradientIsKnown(id) {
  const at = picture().born.find(([part]) => part.id === "a_g-" + id);
  return !at || at[1] <= state.frame;
}

function formula([rule, numbers], look) {
  const box = element("div", { class: look }, element("b", {}, rule));
  if (numbers) box.append(element("span", {}, numbers));
  return box;
}

function statistics({ rows, bars, range }, look) {
  const table = element("table", {}, element("tbody", {}, ...rows.map(([name, text]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, text)))));
  const box = element("div", { class: look }, table);
  if (bars) box.append(histogram(bars), element("p", { class: "quiet" }, range));
  return box;
}

function histogram(bars) {
  const chart = drawn("svg", { class: "histogram", viewBox: `0 0 ${bars.length} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  bars.forEach((bar, at) => chart.append(drawn("rect", { x: at + 0.08, y: 100 - bar, width: 0.84, height: bar })));
  return chart;
}

// Gradient descent ----------------------------------------------------------------------------------------------------

function descent() {
  const { rates, legend, curve } = data.update, rate = rates[state.rate];
  const slider = element("input", { type: "range", min: 0, max: rates.length - 1, step: 1, value: state.rate, id: "rate", "aria-label": ui.step_size, "aria-valuetext": rate.rate });
  slider.hidden = rates.length === 1; // a large model is computed again once only
  slider.addEventListener("input", () => {
    state.rate = Number(slider.value);
    slider.setAttribute("aria-valuetext", rates[state.rate].rate);
    showNumbers();
    showWords();
    fillDescent();
  });
  const parts = [
    element("h2", {}, "p − η · g"), element("h3", {}, ui.step_size),
    element("label", { for: "rate", id: "eta" }), slider,
    element("table", { id: "moves" }), element("h3", {}, data.update.root), element("table", { id: "fell", class: "of-value" }),
    element("h3", {}, curve), element("div", { id: "curve" }), element("p", { class: "quiet" }, legend),
  ];
  queueMicrotask(fillDescent);
  return parts;
}

function fillDescent() {
  const { rates, heads, more } = data.update, rate = rates[state.rate];
  if (!byId("eta")) return;
  byId("eta").textContent = `η = ${rate.rate}`;
  const head = element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text))));
  const rows = rate.rows.map(([name, ...texts]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...texts.map((text) => element("td", {}, text))));
  byId("moves").replaceChildren(head, element("tbody", {}, ...rows), ...(more ? [element("caption", {}, more)] : []));
  byId("fell").replaceChildren(element("tbody", {}, ...rate.fell.map(([name, text]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, text)))));
  byId("curve").replaceChildren(curveOf(data.update));
}

function curveOf({ points, foretold, level, label }) { // points lie in a square of 100, y down
  const chart = drawn("svg", { class: "curve", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label });
  const path = (list) => "M" + list.map((point) => point.join(",")).join("L");
  chart.append(drawn("path", { class: "level", d: `M0,${level}H100` }), drawn("path", { class: "foretold", d: path(foretold) }),
    drawn("path", { d: path(points) }));
  const [x, y] = points[state.rate];
  chart.append(drawn("ellipse", { cx: x, cy: y, rx: 1.6, ry: 3.6, fill: "var(--descent)" }));
  return chart;
}

// Search --------------------------------------------------------------------------------------------------------------

function openSearch() {
  byId("search").showModal();
  byId("query").value = "";
  search();
  byId("query").focus();
}

function search() {
  const words = byId("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = Object.entries(data.cards).filter(([, card]) => words.every((word) => card.search.includes(word))).slice(0, 40);
  const rows = found.map(([id, card]) => {
    const button = element("button", { type: "button" }, element("span", {}, card.title), element("span", {}, card.kind));
    button.addEventListener("click", () => visit(id));
    return button;
  });
  byId("found").replaceChildren(...(rows.length ? rows : [element("p", {}, ui.nothing_found)]));
}

function visit(id) {
  byId("search").close();
  const order = [state.view, ...data.views.keys()];
  const index = order.find((each) => data.views[each].cards.includes(id));
  if (index === undefined) return;
  const { phase } = frame();
  if (index !== state.view) change(index);
  const own = view().frames.findIndex((each) => each.phase === phase && each.card === id);
  show(own >= 0 ? own : Math.min(state.frame, view().frames.length - 1));
  if (own < 0) pick(id);
  state.following = false;
  const box = picture().boxes[id];
  lookAt(box.x + box.width / 2, box.y + box.height / 2, Math.max(camera.scale, LEGIBLE));
  stage.focus();
}

function searchKey(event) {
  const buttons = [...byId("found").querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Enter" && at < 0) buttons[0]?.click();
  else if (step) (buttons[at + step] || byId("query")).focus();
  else return;
  event.preventDefault();
}

function openHelp() {
  const dialog = byId("keys");
  dialog.querySelector("table")?.remove();
  dialog.prepend(keyTable());
  dialog.showModal();
}

// Keys and buttons ----------------------------------------------------------------------------------------------------

const ACTIONS = {
  ArrowRight: () => show(state.frame + 1),
  ArrowLeft: () => show(state.frame - 1),
  Home: () => show(0),
  End: () => show(view().frames.length - 1),
  " ": togglePlaying,
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  "−": () => zoom(0.8),
  0: () => showAll(),
  "/": openSearch,
  "?": openHelp,
  "[": () => fold(view().less),
  "]": () => fold(view().more),
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target } = event, action = ACTIONS[event.key];
  const slides = target.id === "rate" && /^(Arrow|Home|End)/.test(event.key);
  const presses = event.key === " " && target.closest?.("button, summary, a, [role=button]");
  if (!action || slides || presses) return;
  event.preventDefault();
  action();
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

function toggleDetails() {
  const open = byId("panel").classList.toggle("open");
  byId("details").setAttribute("aria-expanded", open);
}

function listen() {
  const clicks = {
    previous: ACTIONS.ArrowLeft, next: ACTIONS.ArrowRight, play: togglePlaying, "zoom-in": ACTIONS["+"],
    "zoom-out": ACTIONS["-"], "zoom-all": ACTIONS[0], find: openSearch, help: ACTIONS["?"], theme: toggleTheme,
    fold: ACTIONS["["], unfold: ACTIONS["]"], details: toggleDetails, close: () => byId("keys").close(),
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  document.addEventListener("keydown", key);
  byId("progress").addEventListener("input", (event) => show(Number(event.target.value)));
  byId("query").addEventListener("input", search);
  byId("search").addEventListener("keydown", searchKey);
  stage.addEventListener("pointerdown", pointerDown);
  stage.addEventListener("pointermove", pointerMove);
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, pointerUp);
  stage.addEventListener("wheel", wheel, { passive: false });
  for (const kind of ["pointerdown", "pointermove"]) byId("minimap").addEventListener(kind, visitSpot);
  window.addEventListener("hashchange", visitLink);
  new ResizeObserver(() => (state.following ? aim(false) : place(false))).observe(stage);
}

change(state.view);
listen();
if (!visitLink()) show(0);
