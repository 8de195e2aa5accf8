// The list of who is here, always sorted.

import { badge, colour, label } from "./names.js";

const inOrder = new Intl.Collator([], { numeric: true }).compare;

export class People {
  #list;
  #count;
  #me;
  #onPick;
  #items = new Map();

  constructor(list, count, { me, onPick }) {
    this.#list = list;
    this.#count = count;
    this.#me = me;
    this.#onPick = onPick;
  }

  has(name) {
    return this.#items.has(name);
  }

  add(name) {
    if (this.has(name)) return;
    const item = this.#item(name);
    const after = [...this.#items.keys()].filter((other) => inOrder(name, other) < 0).sort(inOrder)[0];
    this.#list.insertBefore(item, this.#items.get(after) ?? null);
    this.#items.set(name, item);
    this.#count.textContent = this.#items.size;
  }

  remove(name) {
    this.#items.get(name)?.remove();
    this.#items.delete(name);
    this.#count.textContent = this.#items.size;
  }

  // Only what differs changes: a focused name keeps the focus.
  replace(names) {
    const here = new Set(names);
    [...this.#items.keys()].filter((name) => !here.has(name)).forEach((name) => this.remove(name));
    names.forEach((name) => this.add(name));
  }

  mark(picked) {
    for (const [name, item] of this.#items) {
      item.firstElementChild.ariaPressed = name === this.#me ? null : String(name === picked);
    }
  }

  #item(name) {
    const mine = name === this.#me;
    const person = document.createElement(mine ? "span" : "button");
    person.className = "person";
    colour(person, name);
    person.append(badge(name), label(name));
    if (mine) {
      const you = document.createElement("span");
      you.className = "you";
      you.textContent = "you";
      person.append(you);
    } else {
      person.type = "button";
      person.title = `Tell ${name} something in private`;
      person.ariaPressed = "false";
      person.addEventListener("click", () => this.#onPick(name));
    }
    const item = document.createElement("li");
    item.append(person);
    return item;
  }
}
