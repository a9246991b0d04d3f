// Marks on episodes: what differs from the store, with undo. Nothing here reaches the store before it is saved.

export class Marks {
  constructor(episodes, changed) {
    this.episodes = episodes;
    this.entries = new Map();  // episode -> {success, note, failure_step, bottlenecks, drop}, each where it differs
    this.past = [];
    this.saved = "{}";
    this.changed = changed;
  }

  // The episode as it will be in the new store.
  of(index) {
    const row = this.episodes[index], mark = this.entries.get(index) ?? {};
    const success = mark.success ?? row.success;
    const step = mark.failure_step ?? (success ? -1 : row.failure_step ?? -1);
    return {
      success, marked: mark,
      outcome: mark.success === undefined ? row.outcome : success ? "success" : row.outcome === "success" ? "failure" : row.outcome,
      note: mark.note ?? row.note ?? "",
      failure_step: step,
      bottlenecks: mark.bottlenecks ?? row.bottlenecks ?? [],
      drop: mark.drop ?? false,
    };
  }

  set(index, values) {
    const row = this.episodes[index], before = this.entries.get(index);
    const now = { ...before, ...values };
    const stored = { success: row.success, note: row.note ?? "", failure_step: row.failure_step ?? -1, bottlenecks: row.bottlenecks ?? [], drop: false };
    for (const [key, value] of Object.entries(now)) if (JSON.stringify(value) === JSON.stringify(stored[key])) delete now[key];
    if (JSON.stringify(now) === JSON.stringify(before ?? {})) return;
    this.past.push([index, before]);
    if (Object.keys(now).length) this.entries.set(index, now); else this.entries.delete(index);
    this.changed(index);
  }

  undo() {
    const last = this.past.pop();
    if (!last) return null;
    const [index, before] = last;
    if (before) this.entries.set(index, before); else this.entries.delete(index);
    this.changed(index);
    return index;
  }

  toggleStep(index, step) {
    const steps = this.of(index).bottlenecks;
    const now = steps.includes(step) ? steps.filter((one) => one !== step) : [...steps, step].sort((a, b) => a - b);
    this.set(index, { bottlenecks: now });
  }

  asObject() { return Object.fromEntries([...this.entries].sort((a, b) => a[0] - b[0])); }

  get unsaved() { return this.entries.size > 0 && JSON.stringify(this.asObject()) !== this.saved; }

  keep(saved) { this.saved = JSON.stringify(saved); }

  // What saving will do, in words.
  lines() {
    const counted = new Map(), count = (what) => counted.set(what, (counted.get(what) ?? 0) + 1);
    for (const mark of this.entries.values()) {
      if (mark.drop) { count("left out"); continue; }
      if (mark.success !== undefined) count(mark.success ? "marked as success" : "marked as failure");
      if (mark.bottlenecks !== undefined) count("with other bottleneck steps");
      if (mark.failure_step !== undefined) count("with another failure step");
      if (mark.note !== undefined) count("with another note");
    }
    return [...counted].map(([what, number]) => `${number} episode${number > 1 ? "s" : ""} ${what}`);
  }
}
