// One websocket that comes back when it is lost, and stays away when it is told to.

const REPLACED = 4409;
const REFUSED = [4400, 4403];
const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const STEADY = 10_000; // connected this long, a connection counts as good again

export class Connection {
  #url;
  #onState;
  #onMessage;
  #socket = null;
  #failures = 0;
  #timers = [];

  // onState({state, seconds, code}): connecting, connected, lost (with seconds to wait), replaced, refused.
  // onMessage(data): text as a string, bytes as an ArrayBuffer.
  constructor(url, { onState, onMessage }) {
    this.#url = url;
    this.#onState = onState;
    this.#onMessage = onMessage;
    addEventListener("online", () => this.#timers.length && !this.connected && this.open());
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  open() {
    this.#forget();
    this.#onState({ state: "connecting" });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      this.#onState({ state: "connected" });
      this.#timers.push(setTimeout(() => (this.#failures = 0), STEADY));
    });
    socket.addEventListener("message", (event) => this.#onMessage(event.data));
    socket.addEventListener("close", (event) => {
      if (this.#socket === socket) this.#closed(event.code);
    });
  }

  // False where there is no connection to send on.
  send(value) {
    if (!this.connected) return false;
    this.#socket.send(JSON.stringify(value));
    return true;
  }

  #closed(code) {
    this.#forget();
    if (code === REPLACED) return this.#onState({ state: "replaced", code });
    if (REFUSED.includes(code)) return this.#onState({ state: "refused", code });
    this.#wait();
  }

  // Longer each time, and never at the same moment as everyone else who lost the same server.
  #wait() {
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures++);
    const until = Date.now() + longest * (0.5 + Math.random() / 2);
    const tick = () => this.#onState({ state: "lost", seconds: Math.max(1, Math.ceil((until - Date.now()) / 1000)) });
    tick();
    this.#timers.push(setInterval(tick, 1000), setTimeout(() => this.open(), until - Date.now()));
  }

  #forget() {
    this.#timers.forEach(clearTimeout); // clears intervals too
    this.#timers = [];
    this.#socket = null;
  }
}
