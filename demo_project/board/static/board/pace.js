// Tells others where something is. Only the newest place counts: it goes out when the last one has gone through,
// and 50 ms after it at the earliest. A slow line so has fewer of them, and never old ones.

const EVERY = 50;

export class Pace {
  #send;
  #next = null;
  #going = null;

  // send(position) resolves when it is through.
  constructor(send) {
    this.#send = send;
  }

  tell(position) {
    this.#next = position;
    this.#going ??= this.#go();
  }

  // Resolves when nothing is on its way any more; what was still to be told is dropped.
  async stop() {
    this.#next = null;
    await this.#going;
  }

  async #go() {
    while (this.#next !== null) {
      const position = this.#next;
      this.#next = null;
      const pause = new Promise((resolve) => setTimeout(resolve, EVERY));
      // One that did not get through is made good by the next.
      await Promise.allSettled([this.#send(position), pause]);
    }
    this.#going = null;
  }
}
