// The word at the top: whether the room hears us, and what waits for that.

const REPLACED = 4409;
const REFUSED = [4400, 4403];

// Each: what it says, and what the button beside it offers.
const states = {
  connecting: ["Connecting…", ""],
  online: ["Connected", ""],
  waiting: ["Connection lost.", ""],
  offline: ["No network.", ""],
  replaced: ["Open in another window", "Use it here"],
  refused: ["Not let in", ""],
  closed: ["Ended", "Come in again"],
};

export class Status {
  #bar;
  #text;
  #wait;
  #again;
  #unsent;
  #ticks;
  #sending = 0;
  state = "connecting";

  // onAgain() when the button is pressed, which is there only where the hub won't come back by itself.
  constructor(bar, unsent, { onAgain }) {
    const find = (id) => bar.querySelector(`#${id}`);
    this.#bar = bar;
    this.#text = find("state-text");
    this.#wait = find("state-wait");
    this.#again = find("again");
    this.#unsent = unsent;
    this.#again.addEventListener("click", onAgain);
  }

  // As the hub tells it.
  show({ state, code, until }) {
    if (code === REPLACED) state = "replaced";
    if (REFUSED.includes(code)) state = "refused";
    const [text, action] = states[state];
    this.state = state;
    this.#bar.dataset.state = state;
    this.#text.textContent = text;
    this.#again.textContent = action;
    this.#again.hidden = !action;
    clearInterval(this.#ticks);
    this.#countDown(until);
    if (until) this.#ticks = setInterval(() => this.#countDown(until), 1000);
    this.#showUnsent();
  }

  // Counts a message until the hub has it, or never will.
  async sending(sent) {
    this.#sending++;
    this.#showUnsent();
    try {
      await sent;
    } finally {
      this.#sending--;
      this.#showUnsent();
    }
  }

  // Apart from the text, and hidden from screen readers: they would read out every second of it.
  #countDown(until) {
    const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
    this.#wait.textContent = until ? `Next try in ${seconds} s` : "";
  }

  // While all is well a message is on its way for so short a time that it would only flicker.
  #showUnsent() {
    this.#unsent.hidden = this.state === "online" || this.#sending === 0;
    this.#unsent.textContent = `${this.#sending} to be sent when you are back`;
  }
}
