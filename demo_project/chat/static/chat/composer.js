// Where one writes: to everyone, or to the one person picked.

export class Composer {
  #form;
  #text;
  #to;
  #toName;
  #send;
  #onPicked;
  picked = null;

  // onSend({text, to}); onTyping({to}) at each change; onPicked(name or null) when the addressee changes.
  constructor(form, { onSend, onTyping, onPicked }) {
    const find = (id) => form.querySelector(`#${id}`);
    this.#form = form;
    this.#text = find("text");
    this.#to = find("to");
    this.#toName = find("to-name");
    this.#send = find("send");
    this.#onPicked = onPicked;

    find("to-clear").addEventListener("click", () => this.pick(null));
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.picked !== null) this.pick(null);
    });
    this.#text.addEventListener("input", () => {
      this.#fit();
      if (this.#text.value.trim()) onTyping({ to: this.picked });
    });
    this.#text.addEventListener("keydown", (event) => {
      // Enter also ends a word in an input method: that one is not ours.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value.trim();
      if (!text || this.#send.disabled) return; // nobody would take them: the words stay
      onSend({ text, to: this.picked });
      this.#text.value = "";
      this.#fit();
      this.#text.focus();
    });
  }

  // The same name again lets it go.
  pick(name) {
    this.picked = name === this.picked ? null : name;
    this.#to.hidden = this.picked === null;
    this.#toName.textContent = this.picked ?? "";
    this.#text.placeholder = this.picked === null ? "Say something" : `Tell ${this.picked}`;
    this.#onPicked(this.picked);
    this.#text.focus();
  }

  enable(on) {
    this.#send.disabled = !on;
  }

  #fit() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
