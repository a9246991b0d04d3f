// Saving: asks for a name, sends the marks, and says how far the new store is.

import { get, make } from "./dom.js";

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

export class Saving {
  constructor(store, marks, changed) {
    this.marks = marks; this.changed = changed;
    get("folder").textContent = `in ${store.folder}`;
    get("newname").value = `${store.name.replace(/\.(zarr|zip)$/g, "").replace(/\.zarr$/, "").replace(/[^A-Za-z0-9_.-]+/g, "_")}_marked.zarr`;
    get("confirm").onclick = () => this.save();
    get("newname").onkeydown = (event) => { if (event.key === "Enter") { event.preventDefault(); this.save(); } };
  }

  open() {
    if (!this.marks.entries.size || get("saving").open) return;
    get("summary").replaceChildren(...this.marks.lines().map((text) => make("li", { textContent: text })));
    if (!get("confirm").disabled) this.say("");
    get("saving").showModal();
    get("newname").select();
  }

  say(text, kind = "") { Object.assign(get("outcome"), { textContent: text, className: kind }); }

  async save() {
    if (get("confirm").disabled) return;
    const marks = this.marks.asObject();
    get("confirm").disabled = true;
    this.say("");
    try {
      const body = JSON.stringify({ name: get("newname").value.trim(), marks });
      const answer = await fetch("save", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      let facts = await answer.json();
      if (!answer.ok) throw new Error(facts.error);
      for (get("progress").hidden = false; facts.state === "running"; facts = await (await fetch("save.json")).json()) {
        get("progress").value = facts.done / Math.max(facts.total, 1);
        await wait(200);
      }
      if (facts.state !== "done") throw new Error(facts.error);
      this.marks.keep(marks);
      this.changed();
      this.say(`Saved ${facts.episodes} episode${facts.episodes === 1 ? "" : "s"} to ${facts.store}`, "good");
    } catch (error) {
      this.say(error instanceof TypeError ? "robolearn does not answer: is `robolearn data view` still running?" : error.message, "bad");
    } finally {
      get("progress").hidden = true;
      get("confirm").disabled = false;
    }
  }
}
