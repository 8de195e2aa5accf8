// Who is writing just now. Nobody says when they stop: what was told holds for a few seconds.

const HOLDS = 4000;
const TOLD_EVERY = 2500;

export class Typing {
  #line;
  #timers = new Map(); // name → when it no longer holds
  #told = -Infinity;

  constructor(line) {
    this.#line = line;
  }

  // Whether it is time to tell the others that we write.
  due() {
    const now = performance.now();
    if (now - this.#told < TOLD_EVERY) return false;
    this.#told = now;
    return true;
  }

  // Our words are out: the next ones are told at once.
  done() {
    this.#told = -Infinity;
  }

  show(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(() => this.hide(name), HOLDS));
    this.#write();
  }

  hide(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
    this.#write();
  }

  #write() {
    const names = [...this.#timers.keys()];
    const several = names.length > 2 ? "Several people" : names.join(" and ");
    this.#line.textContent = names.length ? `${several} ${names.length > 1 ? "are" : "is"} writing…` : "";
  }
}
