// The list of who is here, always sorted, and whose connection is lost.

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

  // The members as the hub tells them. Only what differs changes: a focused name keeps the focus.
  replace(members) {
    const here = new Map(members.map(({ client, state }) => [client, state]));
    for (const [name, item] of this.#items) {
      if (here.has(name)) continue;
      item.remove();
      this.#items.delete(name);
    }
    for (const [name, state] of here) {
      if (!this.#items.has(name)) this.#add(name);
      this.#show(this.#items.get(name), state);
    }
    this.#count.textContent = this.#items.size;
  }

  mark(picked) {
    for (const [name, item] of this.#items) {
      item.firstElementChild.ariaPressed = name === this.#me ? null : String(name === picked);
    }
  }

  #add(name) {
    const item = this.#item(name);
    const after = [...this.#items.keys()].filter((other) => inOrder(name, other) < 0).sort(inOrder)[0];
    this.#list.insertBefore(item, this.#items.get(after) ?? null);
    this.#items.set(name, item);
  }

  #show(item, state) {
    if (item.dataset.state === state) return;
    item.dataset.state = state;
    item.querySelector(".away").textContent = state === "lost" ? "reconnecting" : "";
  }

  #item(name) {
    const mine = name === this.#me;
    const person = document.createElement(mine ? "span" : "button");
    person.className = "person";
    colour(person, name);
    const away = document.createElement("span");
    away.className = "away";
    const who = document.createElement("span");
    who.className = "who";
    who.append(label(name), away);
    person.append(badge(name), who);
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
