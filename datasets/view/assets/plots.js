// Plots over an episode's steps, drawn on a canvas: lowest and highest value of each pixel column, so that no peak is lost.

import { make } from "./dom.js";

const LIGHT = ["#2f6bf0", "#e0662e", "#17935a", "#a54bd6", "#c93a63", "#0e93a8", "#8d7a13", "#5b6577", "#e09a1f", "#4c5fd5", "#6aa321", "#b5562b"];
const DARK = ["#6f9bff", "#ff9259", "#45cf90", "#c98cff", "#ff7a9c", "#43c7da", "#d0bd4a", "#a3adbd", "#ffc15c", "#93a1ff", "#a8dd5a", "#ff9f78"];
const LEFT = 52, RIGHT = 8, TOP = 8, BOTTOM = 18;

export function readable(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e12) ? value.toExponential(1) : value.toFixed(size < 10 ? 3 : size < 1000 ? 1 : 0);
}

function niceTicks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) ticks.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  return [ticks, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))];
}

export class Plot {
  constructor(entry, seek) {
    this.entry = entry; this.off = new Set(); this.rows = 0;
    this.card = make("div");
    this.card.className = "plot";
    this.card.dataset.plot = entry.title;
    const title = make("h3");
    title.textContent = entry.title;
    if (entry.units) title.append(make("span", { textContent: `[${entry.units}]` }));
    this.canvas = make("canvas");
    this.legend = make("div", { className: "legend" });
    this.values = entry.names.map((name, place) => this.label(name, place));
    this.card.append(title, this.canvas, this.legend);
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      seek(Math.round(((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * (this.steps - 1)));
    };
    this.canvas.onpointerdown = (event) => { this.canvas.setPointerCapture(event.pointerId); at(event); };
    this.canvas.onpointermove = (event) => { if (event.buttons & 1) at(event); };
  }

  label(name, place) {
    const button = make("button"), line = make("i"), value = make("b");
    button.append(line, name, value);
    button.title = "Show or hide; double-click shows this one alone";
    const paint = () => { [...this.legend.children].forEach((one, index) => one.classList.toggle("off", this.off.has(index))); this.scale(); this.draw(); };
    button.onclick = () => { if (!this.off.delete(place)) this.off.add(place); paint(); };
    button.ondblclick = () => { this.off = new Set(this.values.keys()); this.off.delete(place); paint(); };
    this.legend.append(button);
    return { line, value };
  }

  set(numbers, channels, every, steps, hz) {
    Object.assign(this, { numbers, channels, every, steps, hz, rows: channels ? numbers.length / channels : 0 });
    this.scale();
  }

  at(row, place) { return this.numbers[row * this.channels + this.entry.channels[place]]; }

  scale() {
    let low = Infinity, high = -Infinity;
    for (let place = 0; place < this.values.length; place++) {
      if (this.off.has(place)) continue;
      for (let row = 0; row < this.rows; row++) {
        const value = this.at(row, place);
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (!(low <= high)) [low, high] = [0, 1];
    const size = Math.abs(high), least = Math.max(Math.min(size * 1e-4, 1e-2), size * 1e-9, 1e-6);  // noise on what rests fills no plot
    const margin = Math.max((high - low) * 0.06, least);
    [this.low, this.high] = [low - margin, high + margin];
    this.drawn = null;
  }

  // The curves are drawn once and kept; a moving cursor only copies them.
  draw(step = this.step ?? 0, marks = this.marks ?? []) {
    Object.assign(this, { step, marks });
    const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !this.rows) return;
    const key = `${width}x${height}x${ratio}x${document.documentElement.className}`;
    if (!this.drawn || this.key !== key) {
      this.drawn = new OffscreenCanvas(width * ratio, height * ratio);
      this.key = key;
      this.curves(this.drawn.getContext("2d"), ratio, width, height);
      this.canvas.width = width * ratio; this.canvas.height = height * ratio;
    }
    const ink = this.canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, this.canvas.width, this.canvas.height);
    ink.drawImage(this.drawn, 0, 0);
    ink.scale(ratio, ratio);
    const x = (at) => LEFT + (this.steps > 1 ? at / (this.steps - 1) : 0.5) * (width - LEFT - RIGHT);
    for (const mark of marks) {
      ink.strokeStyle = style.getPropertyValue(mark.kind === "lost" ? "--failure" : "--bottleneck");
      ink.setLineDash([4, 3]); ink.beginPath(); ink.moveTo(x(mark.step), TOP); ink.lineTo(x(mark.step), height - BOTTOM); ink.stroke(); ink.setLineDash([]);
    }
    ink.strokeStyle = style.getPropertyValue("--text"); ink.lineWidth = 1.25;
    ink.beginPath(); ink.moveTo(x(step), TOP - 4); ink.lineTo(x(step), height - BOTTOM + 3); ink.stroke();
    const colors = document.documentElement.classList.contains("dark") ? DARK : LIGHT, row = Math.min(Math.round(step / this.every), this.rows - 1);
    this.values.forEach(({ line, value }, place) => {
      line.style.background = colors[place % colors.length];
      value.textContent = readable(this.at(row, place));
      if (this.off.has(place)) return;
      ink.fillStyle = colors[place % colors.length];
      ink.beginPath();
      ink.arc(x(step), TOP + ((this.high - this.at(row, place)) / (this.high - this.low)) * (height - TOP - BOTTOM), 2.6, 0, 7);
      ink.fill();
    });
  }

  curves(ink, ratio, width, height) {
    const style = getComputedStyle(document.documentElement), inner = width - LEFT - RIGHT, tall = height - TOP - BOTTOM;
    const y = (value) => TOP + ((this.high - value) / (this.high - this.low)) * tall;
    ink.scale(ratio, ratio);
    ink.font = "11px system-ui, DejaVu Sans, sans-serif"; ink.fillStyle = style.getPropertyValue("--quiet"); ink.strokeStyle = style.getPropertyValue("--grid");
    const [ticks, digits] = niceTicks(this.low, this.high, 4);
    const label = (value) => Math.abs(value) >= 1e5 ? value.toExponential(1) : value.toFixed(Math.min(digits, 5));
    const base = Math.abs(this.low) >= 1e5 && this.high - this.low < Math.abs(this.low) * 1e-2 ? ticks[0] : 0;  // the others are told from it
    ink.textAlign = "right"; ink.textBaseline = "middle";
    for (const tick of ticks) {
      ink.beginPath(); ink.moveTo(LEFT, y(tick)); ink.lineTo(width - RIGHT, y(tick)); ink.stroke();
      ink.fillText(base && tick > base ? `+${label(tick - base)}` : label(tick), LEFT - 6, y(tick));
    }
    const [times] = niceTicks(0, (this.steps - 1) / this.hz || 1, Math.max(2, Math.floor(inner / 90)));
    ink.textBaseline = "top"; ink.textAlign = "center";
    for (const time of times) {
      const x = LEFT + (this.steps > 1 ? (time * this.hz) / (this.steps - 1) : 0) * inner;
      if (x <= width - RIGHT + 1) ink.fillText(`${+time.toFixed(3)} s`, Math.min(x, width - RIGHT - 10), height - BOTTOM + 5);
    }
    const colors = document.documentElement.classList.contains("dark") ? DARK : LIGHT;
    ink.lineWidth = this.values.length > 12 ? 1 : 1.6; ink.lineJoin = "round";
    const perColumn = Math.max(1, Math.floor(this.rows / (inner * 1.5)));
    for (let place = 0; place < this.values.length; place++) {
      if (this.off.has(place)) continue;
      ink.strokeStyle = colors[place % colors.length];
      ink.beginPath();
      let pen = false;
      for (let first = 0; first < this.rows; first += perColumn) {
        const x = LEFT + (this.steps > 1 ? (first * this.every) / (this.steps - 1) : 0.5) * inner;
        let low = Infinity, high = -Infinity;
        for (let row = first; row < Math.min(first + perColumn, this.rows); row++) {
          const value = this.at(row, place);
          if (value < low) low = value;
          if (value > high) high = value;
        }
        if (!(low <= high)) { pen = false; continue; }
        if (pen) ink.lineTo(x, y(high)); else ink.moveTo(x, y(high));
        if (low !== high) ink.lineTo(x, y(low));
        pen = true;
      }
      ink.stroke();
    }
  }
}
