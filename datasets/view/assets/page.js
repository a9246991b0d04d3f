// The page: which episode and step is shown, keys and buttons, and what moves along with them.

import { Camera } from "./player.js";
import { get, leave, make } from "./dom.js";
import { List } from "./list.js";
import { Marks } from "./marks.js";
import { Plot } from "./plots.js";
import { Saving } from "./saving.js";

const ask = async (path) => {
  const answer = await fetch(path), value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
};
const state = { episode: -1, step: 0, playing: false, since: 0, from: 0 };
let store, marks, list, saving, cameras = [], plots = [], numbers = new Map();

const row = () => store.episodes[state.episode];
const busy = () => get("saving").open || get("help").open;

async function begin() {
  dress(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  store = await ask("store.json");
  document.title = `${store.name} · robolearn view`;
  get("name").textContent = store.name;
  get("about").textContent = `${store.task} · ${store.episodes.length} episodes · ${store.steps.toLocaleString("en")} steps · ${store.control_hz} Hz`;
  get("about").title = store.path;
  marks = new Marks(store.episodes, marked);
  list = new List(marks, choose);
  saving = new Saving(store, marks, () => marked(-1));
  store.plots.forEach((entry, place) => toggle(entry, place));
  listen();
  get("pictures").append(make("div", { className: "nothing", textContent: "Preparing pictures…" }));
  await choose(0);
  document.body.dataset.ready = "yes";
  look().catch((error) => without({ broken: error.message }));
  setInterval(beat, 5000);
}

async function look() {  // cameras are known once the first picture has been drawn
  const found = await ask("cameras.json");
  cameras = ["stored", "drawn"].flatMap((kind) => found[kind].map((name) => new Camera(kind, name, without)));
  get("pictures").replaceChildren(...cameras.map((camera) => camera.figure));
  if (found.why_not) without({ broken: cameras.length ? `Not re-rendered: ${found.why_not}` : `No pictures: ${found.why_not}` });
  seek(state.step);
}

function without(camera) {  // pictures that cannot be shown, with the reason in their place
  camera.figure?.replaceChildren();
  const box = make("div", { className: "nothing", textContent: camera.figure ? `${camera.name}: ${camera.broken}` : camera.broken });
  if (camera.figure) camera.figure.append(box); else get("pictures").append(box);
}

function toggle(entry, place) {
  const plot = new Plot(entry, (step) => { pause(); seek(step); }), button = make("button", { textContent: entry.title });
  plot.on = place < 2 || (!/rot|vel|reward/.test(entry.title) && entry.channels.length <= 24 && plots.filter((one) => one.on).length < 6);
  plot.card.hidden = !plot.on;
  button.classList.toggle("on", plot.on);
  button.onclick = () => { plot.on = !plot.on; plot.card.hidden = !plot.on; button.classList.toggle("on", plot.on); fill(); };
  get("toggles").append(button);
  get("plots").append(plot.card);
  plots.push(plot);
}

async function choose(index) {
  if (index === undefined || index === state.episode) return;
  pause();
  Object.assign(state, { episode: index, step: 0 });
  numbers = new Map();
  list.select(index);
  get("slider").max = row().steps - 1;
  if (cameras.some((camera) => camera.broken)) look();  // perhaps this episode has what the last one lacked
  marked(index);
  seek(0);
  await Promise.all([fill(), tell(index)]);
}

async function tell(index) {  // where the episode came from
  const said = await ask(`episode/${index}/provenance.json`).then((known) => JSON.stringify(known, null, 1), (error) => error.message);
  if (state.episode === index) get("provenance").textContent = said;
}

async function fill() {  // read the arrays of the plots that are shown
  const index = state.episode;
  await Promise.all(plots.filter((plot) => plot.on).map(async (plot) => {
    const name = plot.entry.array;
    if (!numbers.has(name)) numbers.set(name, read(index, name));
    try {
      const [values, channels, every] = await numbers.get(name);
      if (state.episode !== index) return;
      plot.set(values, channels, every, row().steps, store.control_hz);
      plot.draw(state.step, ticks());
    } catch (error) { plot.legend.textContent = error.message; }
  }));
}

async function read(index, name) {
  const answer = await fetch(`episode/${index}/numbers/${encodeURIComponent(name)}`);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return [new Float64Array(await answer.arrayBuffer()), +answer.headers.get("X-Channels"), +answer.headers.get("X-Every")];
}

function ticks() {
  const now = marks.of(state.episode);
  const found = now.bottlenecks.map((step) => ({ step, kind: "bottleneck" }));
  return now.failure_step >= 0 ? [...found, { step: now.failure_step, kind: "lost" }] : found;
}

function seek(step) {
  const last = row().steps - 1;
  state.step = Math.min(Math.max(step, 0), last);
  get("slider").value = state.step;
  const clock = get("clock"), now = marks.of(state.episode);
  clock.replaceChildren(make("b", { textContent: state.step }), ` / ${last}  ·  ${(state.step / store.control_hz).toFixed(2)} s`);
  cameras.forEach((camera) => camera.show(state.episode, state.step, row().steps));
  plots.forEach((plot) => { if (plot.on) plot.draw(state.step, ticks()); });
  get("bottleneck").classList.toggle("on", now.bottlenecks.includes(state.step));
  get("lost").classList.toggle("on", now.failure_step === state.step);
}

function marked(index) {  // show what is marked, here and in the list
  const now = marks.of(state.episode), entry = row();
  get("episode").textContent = `Episode ${state.episode}`;
  get("badge").textContent = now.outcome + (now.marked.success === undefined ? "" : " *");
  get("badge").className = `badge ${now.outcome}`;
  get("facts").textContent = [
    entry.source, entry.recorded_by && `recorded by ${entry.recorded_by}`, `${entry.steps} steps`,
    `${(entry.steps / store.control_hz).toFixed(1)} s`, entry.seed >= 0 && `seed ${entry.seed}`, entry.operator,
  ].filter(Boolean).join(" · ");
  get("success").classList.toggle("on", now.success);
  get("failure").classList.toggle("on", !now.success && now.outcome === "failure");
  get("failure").disabled = !now.success && now.outcome !== "failure";
  get("failure").title = get("failure").disabled ? `It ended as ${now.outcome}, which is no success either; “Lost here” marks a step` : "Failure (f)";
  get("drop").classList.toggle("on", now.drop);
  get("drop").textContent = now.drop ? "Dropped" : "Drop";
  if (document.activeElement !== get("note") || index !== state.episode) get("note").value = now.note;
  get("ticks").replaceChildren(...ticks().map((tick) => {
    const button = make("button", { className: `tick ${tick.kind}`, title: `${tick.kind} at step ${tick.step}`, onclick: () => seek(tick.step) });
    button.onmousedown = (event) => { if (!event.button) { leave(); seek(tick.step); } };  // as in the list; keys click
    button.style.left = `${(100 * tick.step) / Math.max(entry.steps - 1, 1)}%`;
    return button;
  }));
  const number = marks.entries.size;
  get("changes").textContent = number ? `${number} episode${number > 1 ? "s" : ""} marked${marks.unsaved ? "" : ", saved"}` : "";
  get("save").disabled = !number;
  get("undo").disabled = !marks.past.length;
  list.draw();
  seek(state.step);
}

function pause() { state.playing = false; get("play").textContent = "▶"; }

function play() {
  if (state.playing) return pause();
  if (state.step >= row().steps - 1) seek(0);
  Object.assign(state, { playing: true, since: performance.now(), from: state.step });
  get("play").textContent = "❚❚";
  requestAnimationFrame(run);
}

function run(now) {
  if (!state.playing) return;
  const step = state.from + Math.floor(((now - state.since) / 1000) * store.control_hz * +get("speed").value);
  if (step > state.step) {
    const waiting = cameras.some((camera) => !camera.shown && !camera.broken);
    if (waiting && step - state.step < 8) Object.assign(state, { since: now, from: state.step }); else seek(step);
  }
  if (state.step >= row().steps - 1) pause(); else requestAnimationFrame(run);
}

const mark = (values) => marks.set(state.episode, values);
const DEEDS = {
  success: () => mark({ success: true, failure_step: -1 }),
  failure: () => mark({ success: false }),
  bottleneck: () => marks.toggleStep(state.episode, state.step),
  lost: () => mark(marks.of(state.episode).failure_step === state.step ? { failure_step: -1 } : { success: false, failure_step: state.step }),
  drop: () => mark({ drop: !marks.of(state.episode).drop }),
  undo: () => { const index = marks.undo(); if (index !== null && index !== state.episode) choose(index); },
  save: () => saving.open(),
  keys: () => get("help").showModal(),
  play,
};
const near = (way) => {  // to the next bottleneck that way
  const steps = marks.of(state.episode).bottlenecks.filter((step) => way * (step - state.step) > 0);
  if (steps.length) seek(way > 0 ? Math.min(...steps) : Math.max(...steps));
};
const go = (step) => { pause(); seek(step); };
const KEYS = {
  " ": play, s: DEEDS.success, f: DEEDS.failure, b: DEEDS.bottleneck, x: DEEDS.lost, d: DEEDS.drop, u: DEEDS.undo, "?": DEEDS.keys,
  n: () => get("note").focus(), "/": () => get("filter").focus(), "[": () => near(-1), "]": () => near(1),
  ArrowLeft: (event) => go(state.step - (event.shiftKey ? 10 : 1)), ArrowRight: (event) => go(state.step + (event.shiftKey ? 10 : 1)),
  ArrowUp: () => choose(list.beside(-1)), ArrowDown: () => choose(list.beside(1)),
  Home: () => go(0), End: () => go(row().steps - 1),
};

function listen() {
  for (const [id, deed] of Object.entries(DEEDS)) get(id).onclick = () => { deed(); if (id !== "keys" && id !== "save") get(id).blur(); };
  get("slider").oninput = () => { pause(); seek(+get("slider").value); };
  get("speed").onchange = () => Object.assign(state, { since: performance.now(), from: state.step });
  get("note").maxLength = store.longest_note;
  get("note").onchange = () => mark({ note: get("note").value.trim() });
  get("theme").onclick = () => {
    const name = document.documentElement.classList.contains("dark") ? "light" : "dark";
    localStorage.setItem("theme", name);
    dress(name);
    seek(state.step);
  };
  new ResizeObserver(() => plots.forEach((plot) => { if (plot.on) plot.draw(); })).observe(get("plots"));
  addEventListener("focus", beat);
  addEventListener("beforeunload", (event) => { if (marks.unsaved) event.preventDefault(); });
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") { event.preventDefault(); get("note").blur(); return saving.open(); }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || busy()) return;
    const field = event.target.matches("input[type=text], input[type=search], select, textarea");
    if (field) {
      if (event.key === "Escape" && event.target === get("note")) get("note").value = marks.of(state.episode).note;
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey && !event.target.matches("select"))) { event.preventDefault(); leave(); }
      return;
    }
    const deed = KEYS[event.key];
    if (deed) { event.preventDefault(); deed(event); }
  });
}

function dress(name) { document.documentElement.className = name; }

async function beat() {
  const banner = get("banner");
  try { await ask("alive"); banner.hidden = true; } catch {
    banner.textContent = `robolearn does not answer: \`robolearn data view\` has stopped.${marks.unsaved ? " The marks that were not saved are lost when this page is closed." : ""}`;
    banner.hidden = false;
  }
}

begin().catch((error) => { get("banner").textContent = error.message; get("banner").hidden = false; });
