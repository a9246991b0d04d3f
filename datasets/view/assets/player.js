// Pictures of the current step. Each camera has one request under way at most, for the step shown now; idle, it fetches ahead.

import { make } from "./dom.js";

const AHEAD = { stored: 24, drawn: 8 }, HELD = 400;  // drawing without a GPU takes a tenth of a second

export class Camera {
  constructor(kind, name, ready) {
    this.kind = kind; this.name = name; this.ready = ready;
    this.episode = -1; this.step = 0; this.steps = 0; this.busy = false; this.broken = "";
    this.urls = new Map();  // "episode/step" -> object URL, oldest first
    this.figure = make("figure");
    this.image = make("img");
    this.image.alt = `camera ${name}`;
    const caption = make("figcaption");
    caption.textContent = kind === "drawn" ? `${name} · re-rendered` : name;
    this.figure.append(this.image, caption);
    this.figure.dataset.camera = name; this.figure.dataset.kind = kind;
  }

  show(episode, step, steps) {
    if (episode !== this.episode) this.broken = "";
    Object.assign(this, { episode, step, steps });
    this.display();
    clearTimeout(this.later);
    if (!this.shown) this.fetchNext();
    else this.later = setTimeout(() => this.fetchNext(), 120);  // ahead, once scrubbing pauses
  }

  get shown() { return this.image.dataset.at === `${this.episode}/${this.step}`; }

  display() {
    const at = `${this.episode}/${this.step}`, url = this.urls.get(at);
    if (!url || this.image.dataset.at === at) return;
    this.image.src = url;
    this.image.dataset.at = at;
    this.image.onload = () => this.figure.classList.toggle("small", this.image.naturalWidth < 160);
  }

  next() {  // the step to fetch: the one shown, else the first that is lacking ahead of it
    for (let step = this.step; step < Math.min(this.step + AHEAD[this.kind], this.steps); step++) {
      if (!this.urls.has(`${this.episode}/${step}`)) return step;
    }
    return -1;
  }

  async fetchNext() {
    const step = this.next();
    if (this.busy || this.broken || step < 0 || this.episode < 0) return;
    this.busy = true;
    const episode = this.episode, at = `${episode}/${step}`;
    try {
      const answer = await fetch(`episode/${episode}/${this.kind}/${encodeURIComponent(this.name)}/${step}.jpg`);
      if (answer.ok) {
        this.urls.set(at, URL.createObjectURL(await answer.blob()));
        if (this.urls.size > HELD) {
          const [oldest, url] = this.urls.entries().next().value;
          if (oldest !== this.image.dataset.at) URL.revokeObjectURL(url);
          this.urls.delete(oldest);
        }
      } else if (episode === this.episode) {
        this.broken = (await answer.json()).error;
        this.ready(this);
      }
    } catch { this.broken = "no answer"; } finally { this.busy = false; }
    this.display();
    if (this.broken !== "no answer") this.fetchNext(); else { this.broken = ""; setTimeout(() => this.fetchNext(), 2000); }
  }
}
