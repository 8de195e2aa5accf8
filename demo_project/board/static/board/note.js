// One note on the sheet: what it shows, and what one can do with it.

import { colour } from "../chat/names.js";

const STEP = 0.02; // of the sheet, for each press of an arrow key
const RESTS = 400; // ms after the last press its new place is told
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const within = (value) => Math.min(1, Math.max(0, value));

let top = 1; // the note that moved last lies above the others

export class NoteView {
  at = { x: 0, y: 0 };
  #find;
  #user;
  #does;
  #dragged = false;
  #editable = false;
  #resting = 0;
  #text = ""; // as the server has it

  // does: dragging(id, place) at each step; moved(id, place), written(id, text), voted(id, wanted), removed(id).
  constructor(element, id, user, does) {
    this.element = element;
    this.id = id;
    this.#find = (name) => element.querySelector(name);
    this.#user = user;
    this.#does = does;
    element.dataset.note = id;
    element.addEventListener("focusin", () => this.#lift()); // who works at it sees all of it
    const grip = this.#find(".grip");
    grip.addEventListener("pointerdown", (event) => this.#take(grip, event));
    grip.addEventListener("keydown", (event) => this.#press(event));
    this.#find("textarea").addEventListener("change", ({ target }) => does.written(id, target.value));
    this.#find(".remove").addEventListener("click", () => does.removed(id));
    this.#find(".vote").addEventListener("click", ({ currentTarget }) => {
      does.voted(id, currentTarget.ariaPressed !== "true");
    });
  }

  // As the server tells it. What is in hand here stays as it is: it is told next.
  show({ author, text, x, y, votes }) {
    if (!this.#dragged && !this.#resting) this.place(x, y);
    const area = this.#find("textarea");
    if (area.value === this.#text || document.activeElement !== area) area.value = text;
    this.#text = text;
    if (author) colour(this.element, author); // else the colour of paper
    this.#find(".author").textContent = author ?? "the house";
    this.element.ariaLabel = `Note of ${author ?? "the house"}`;
    this.#find(".grip").ariaLabel = `Move the note of ${author ?? "the house"}`;
    this.votes = votes.length;
    this.text = text;
    const vote = this.#find(".vote");
    vote.ariaPressed = String(votes.includes(this.#user));
    vote.ariaLabel = `Vote for it. ${votes.length} so far`;
    this.#find(".votes").textContent = votes.length;
  }

  enable(on) {
    this.#editable = on;
    this.#find("textarea").readOnly = !on;
    for (const button of this.element.querySelectorAll("button")) button.disabled = !on;
  }

  // Somebody else drags it.
  follow(x, y) {
    if (this.#dragged || this.#resting) return;
    this.element.classList.add("follows");
    this.place(x, y);
    this.#lift();
  }

  place(x, y) {
    this.at = { x, y };
    this.element.style.setProperty("--x", x);
    this.element.style.setProperty("--y", y);
  }

  focus(name = ".grip") {
    this.#find(name).focus();
  }

  #lift() {
    this.element.style.zIndex = ++top;
  }

  #take(grip, event) {
    if (!this.#editable || event.button !== 0) return;
    event.preventDefault();
    grip.focus();
    grip.setPointerCapture(event.pointerId);
    this.#dragged = true;
    this.element.classList.remove("follows");
    this.element.classList.add("dragged");
    this.#lift();
    const sheet = this.element.parentElement;
    const [width, height] = [
      sheet.clientWidth - this.element.offsetWidth,
      sheet.clientHeight - this.element.offsetHeight,
    ];
    const start = { ...this.at };
    const done = new AbortController();
    const move = ({ clientX, clientY }) => {
      this.place(
        within(start.x + (clientX - event.clientX) / width),
        within(start.y + (clientY - event.clientY) / height),
      );
      this.#does.dragging(this.id, this.at);
    };
    const drop = () => {
      done.abort();
      this.#dragged = false;
      this.element.classList.remove("dragged");
      if (this.at.x !== start.x || this.at.y !== start.y) this.#does.moved(this.id, this.at);
    };
    grip.addEventListener("pointermove", move, { signal: done.signal });
    grip.addEventListener("pointerup", drop, { signal: done.signal });
    grip.addEventListener("pointercancel", drop, { signal: done.signal });
  }

  #press(event) {
    const step = ARROWS[event.key];
    if (!step || !this.#editable) return;
    event.preventDefault();
    this.#lift();
    this.place(within(this.at.x + step[0]), within(this.at.y + step[1]));
    this.#does.dragging(this.id, this.at);
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => {
      this.#resting = 0;
      this.#does.moved(this.id, this.at);
    }, RESTS);
  }
}
