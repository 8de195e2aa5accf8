// All notes of the board, and the list of those with the most votes.

import { NoteView } from "./note.js";

const LEADING = 5;

export class Notes {
  #sheet;
  #template;
  #leading;
  #none;
  #user;
  #does;
  #views = new Map();
  #editable = false;

  constructor({ sheet, template, leading, none, user, does }) {
    this.#sheet = sheet;
    this.#template = template;
    this.#leading = leading;
    this.#none = none;
    this.#user = user;
    this.#does = does;
  }

  // All there are. A note that stays keeps its focus.
  replace(notes) {
    const ids = new Set(notes.map(({ id }) => id));
    for (const id of this.#views.keys()) if (!ids.has(id)) this.#drop(id);
    for (const note of notes) this.#show(note);
    this.#rank();
  }

  show(note) {
    this.#show(note);
    this.#rank();
  }

  remove(id) {
    this.#drop(id);
    this.#rank();
  }

  follow(id, x, y) {
    this.#views.get(id)?.follow(x, y);
  }

  focus(id, part) {
    this.#views.get(id)?.focus(part);
  }

  // Of these places the one that is farthest from the next note.
  emptiest(spots) {
    const room = ({ x, y }) =>
      Math.min(2, ...[...this.#views.values()].map(({ at }) => Math.hypot(at.x - x, at.y - y)));
    return spots.reduce((best, spot) => (room(spot) > room(best) ? spot : best));
  }

  enable(on) {
    this.#editable = on;
    for (const view of this.#views.values()) view.enable(on);
  }

  #show(note) {
    let view = this.#views.get(note.id);
    if (!view) {
      const element = this.#template.content.firstElementChild.cloneNode(true);
      view = new NoteView(element, note.id, this.#user, this.#does);
      view.enable(this.#editable);
      this.#views.set(note.id, view);
      this.#sheet.append(element);
    }
    view.show(note);
  }

  #drop(id) {
    const ids = [...this.#views.keys()];
    const at = ids.indexOf(id);
    if (at < 0) return;
    const { element } = this.#views.get(id);
    // Who was at work there goes on at the next note, and not at the beginning of the page.
    const beside = element.contains(document.activeElement) ? ids[at + 1] ?? ids[at - 1] : undefined;
    element.remove();
    this.#views.delete(id);
    this.#views.get(beside)?.focus();
  }

  #rank() {
    const voted = [...this.#views.values()].filter(({ votes }) => votes > 0);
    voted.sort((one, other) => other.votes - one.votes || one.id - other.id);
    const focused = this.#leading.contains(document.activeElement) && document.activeElement.dataset.of;
    this.#leading.replaceChildren(...voted.slice(0, LEADING).map((view) => this.#rankOf(view)));
    if (focused) this.#leading.querySelector(`[data-of="${focused}"]`)?.focus();
    this.#none.hidden = voted.length > 0;
  }

  #rankOf(view) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.of = view.id;
    const count = document.createElement("span");
    count.className = "count";
    count.textContent = view.votes;
    const what = document.createElement("span");
    what.className = "what";
    what.dir = "auto";
    what.textContent = view.text || "(an empty note)";
    button.append(count, what);
    button.addEventListener("click", () => {
      view.element.scrollIntoView({ block: "center", inline: "center" });
      view.focus("textarea");
    });
    item.append(button);
    return item;
  }
}
