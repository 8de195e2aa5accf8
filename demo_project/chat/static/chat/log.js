// What was said, newest at the bottom. Text goes in as text, never as HTML.

import { badge, colour, label } from "./names.js";

const KEPT = 500;
const SAME_TURN = 3 * 60_000;
const NEAR_BOTTOM = 60;

export class Log {
  #pane; // what scrolls
  #list;
  #newer;
  #turn = null; // the turn the next words may join: who, to whom, since when

  constructor(pane, newer) {
    this.#pane = pane;
    this.#list = pane.firstElementChild;
    this.#newer = newer;
    newer.addEventListener("click", () => this.#toBottom());
    pane.addEventListener("scroll", () => this.#atBottom() && (newer.hidden = true), { passive: true });
    new ResizeObserver(() => newer.hidden && this.#toBottom()).observe(pane);
  }

  // from: who speaks. mark: "", or to whom it goes. mine: whether it is the reader's own.
  say({ from, text, mark = "", mine = false }) {
    const now = Date.now();
    const key = JSON.stringify([from, mark, mine]);
    const words = document.createElement("p");
    words.className = "words";
    words.dir = "auto"; // Arabic and Hebrew begin at the right
    words.textContent = text;
    this.#keepingPlace(mine, () => {
      if (this.#turn?.key === key && now - this.#turn.since < SAME_TURN) {
        this.#turn.said.append(words);
        return;
      }
      const turn = this.#newTurn(from, mark, mine);
      turn.said.append(words);
      this.#turn = { key, since: now, said: turn.said };
      this.#append(turn.item);
    });
  }

  note(text, kind = "") {
    this.#turn = null;
    const item = document.createElement("li");
    item.className = `note ${kind}`;
    item.append(text, " ", clock());
    this.#keepingPlace(false, () => this.#append(item));
  }

  #newTurn(from, mark, mine) {
    const item = document.createElement("li");
    item.className = "turn";
    item.classList.toggle("mine", mine);
    item.classList.toggle("private", mark !== "");
    colour(item, from);
    const head = document.createElement("p");
    head.className = "head";
    head.append(label(from));
    if (mark) {
      const element = document.createElement("span");
      element.className = "mark";
      element.textContent = mark;
      head.append(element);
    }
    head.append(clock());
    const said = document.createElement("div");
    said.className = "said";
    said.append(head);
    item.append(badge(from), said);
    return { item, said };
  }

  #append(item) {
    this.#list.append(item);
    if (this.#list.childElementCount > KEPT) this.#list.firstElementChild.remove();
  }

  // Someone who reads further up stays there, and is told that there is more below.
  #keepingPlace(follow, change) {
    const stay = !follow && !this.#atBottom();
    change();
    if (stay) this.#newer.hidden = false;
    else this.#toBottom();
  }

  #atBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#pane;
    return scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM;
  }

  #toBottom() {
    this.#pane.scrollTop = this.#pane.scrollHeight;
    this.#newer.hidden = true;
  }
}

function clock() {
  const now = new Date();
  const element = document.createElement("time");
  element.dateTime = now.toISOString();
  element.textContent = now.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
  return element;
}
