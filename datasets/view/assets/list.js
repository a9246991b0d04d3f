// The list of episodes: filtered, and drawn only where it is seen, so that a hundred thousand rows scroll as well as ten.

import { get, leave, make } from "./dom.js";

const ROW = 32;
export const OUTCOMES = ["success", "failure", "timeout", "unfinished"];

// `leg source=teleop seed=3` : every word must hold, `name=value` in that column, else anywhere.
function holds(row, index, now, words) {
  const columns = { ...row, outcome: now.outcome, note: now.note, episode: index };
  const text = `${index} ${row.source} ${now.outcome} ${now.note} ${row.operator ?? ""}`.toLowerCase();
  return words.every((word) => {
    const [name, value] = word.split("=");
    return value === undefined || !(name in columns) ? text.includes(word) : String(columns[name]).toLowerCase() === value;
  });
}

export class List {
  constructor(marks, choose) {
    this.marks = marks; this.choose = choose; this.chosen = -1; this.shown = []; this.hidden = new Set();
    this.box = get("list"); this.rows = get("rows");
    this.box.onscroll = () => this.draw();
    new ResizeObserver(() => this.draw()).observe(this.box);
    const field = get("filter");
    field.oninput = () => this.filter();
    for (const outcome of OUTCOMES) this.chip(outcome);
    this.filter();
  }

  chip(outcome) {
    const number = this.marks.episodes.filter((row) => row.outcome === outcome).length;
    if (!number) return;
    const button = make("button"), dot = make("i");
    dot.className = `dot ${outcome}`;
    button.append(dot, `${outcome} ${number}`);
    button.className = "on";
    button.onclick = () => {
      if (!this.hidden.delete(outcome)) this.hidden.add(outcome);
      button.classList.toggle("on", !this.hidden.has(outcome));
      this.filter();
    };
    get("outcomes").append(button);
  }

  filter() {
    const words = get("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    this.shown = [];
    this.marks.episodes.forEach((row, index) => {
      const now = this.marks.of(index);
      if (!this.hidden.has(row.outcome) && holds(row, index, now, words)) this.shown.push(index);
    });
    const all = this.marks.episodes.length;
    get("counted").textContent = this.shown.length === all ? `${all} episodes` : `${this.shown.length} of ${all} episodes`;
    this.draw();
  }

  draw() {
    this.rows.style.height = `${this.shown.length * ROW}px`;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4), last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 8);
    this.rows.replaceChildren(...this.shown.slice(first, last).map((index, place) => this.row(index, first + place)));
  }

  row(index, place) {
    const row = this.marks.episodes[index], now = this.marks.of(index);
    const cell = (text, kind = "") => make("span", { textContent: text, className: kind });
    const line = make("div"), state = cell("", "state"), glyphs = cell("", "glyphs");
    line.className = `row${index === this.chosen ? " chosen" : ""}${now.drop ? " dropped" : ""}`;
    line.style.top = `${place * ROW}px`;
    line.dataset.episode = index;
    line.role = "option";
    line.title = now.note;
    state.append(make("i", { className: `dot ${now.outcome}` }), now.outcome);
    if (now.bottlenecks.length) glyphs.append(`◆${now.bottlenecks.length}`);
    if (this.marks.entries.has(index)) glyphs.append(make("i", { className: "changed", title: "marked, not saved" }));
    line.append(cell(index), state, cell(row.source, "source"), cell(row.steps, "number"), cell(row.seed < 0 ? "" : row.seed, "number seed"), glyphs);
    line.onmousedown = (event) => { if (!event.button) { leave(); this.choose(index); } };  // a field's change draws the rows anew: no click arrives
    return line;
  }

  select(index) {
    this.chosen = index;
    const place = this.shown.indexOf(index);
    if (place >= 0) {
      if (place * ROW < this.box.scrollTop) this.box.scrollTop = place * ROW;
      if ((place + 1) * ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = (place + 1) * ROW - this.box.clientHeight;
    }
    this.draw();
  }

  beside(way) {  // the episode above or below the chosen one, among those shown
    const place = this.shown.indexOf(this.chosen);
    return place < 0 ? this.shown[0] : this.shown[Math.min(Math.max(place + way, 0), this.shown.length - 1)];
  }
}
