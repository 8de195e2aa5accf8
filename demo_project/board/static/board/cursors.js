// The others' cursors. Nobody says that a hand has left the mouse: one that rests for a while goes.

import { colour } from "../chat/names.js";

const HOLDS = 8000;

export class Cursors {
  #sheet;
  #names = new Map(); // client → name
  #shown = new Map(); // client → { element, timer }

  constructor(sheet) {
    this.#sheet = sheet;
  }

  // The members who are here; the cursors of all others go.
  replace(members) {
    this.#names = new Map(members.map(({ client, meta }) => [client, meta.name]));
    for (const client of this.#shown.keys()) if (!this.#names.has(client)) this.#hide(client);
  }

  show(client, x, y) {
    const name = this.#names.get(client);
    if (name === undefined) return;
    const shown = this.#shown.get(client) ?? this.#make(client, name);
    clearTimeout(shown.timer);
    shown.timer = setTimeout(() => this.#hide(client), HOLDS);
    shown.element.style.setProperty("--x", x);
    shown.element.style.setProperty("--y", y);
  }

  #make(client, name) {
    const element = document.createElement("div");
    element.className = "cursor";
    element.setAttribute("aria-hidden", "true");
    colour(element, name);
    const label = document.createElement("span");
    label.className = "label";
    label.append(document.createElement("span"));
    label.firstChild.textContent = name;
    element.append(label);
    this.#sheet.append(element);
    const shown = { element, timer: 0 };
    this.#shown.set(client, shown);
    return shown;
  }

  #hide(client) {
    this.#shown.get(client).element.remove();
    clearTimeout(this.#shown.get(client).timer);
    this.#shown.delete(client);
  }
}
