// The client of a hub: django_hub's subprotocol hub.v1 (docs/reference/protocol.md) in a browser, a worker, or Node.
// One module, no dependencies, no build. What is promised to a caller stands in hub.d.ts.

/** @typedef {import("./hub.d.ts").EventMap} EventMap */
/** @typedef {import("./hub.d.ts").Hub} Promised what this class is held to */
/** @typedef {import("./hub.d.ts").Member} Member */
/** @typedef {import("./hub.d.ts").Options} Options */
/** @typedef {import("./hub.d.ts").PresenceGroup} PresenceGroup */
/** @typedef {import("./hub.d.ts").Socket} Socket */
/** @typedef {string | Uint8Array<ArrayBuffer>} Frame */
/** @typedef {Record<string, any> & {type: string}} Fields of a frame from the server */

const SUBPROTOCOL = "hub.v1";
const TICKET = "hub.ticket.";
const GLANCE = 5; // seconds: who looks at the page again does not wait longer for a connection that may be dead
const TOO_BIG = 1009;
const BAD_TOKEN = 4401;
const NOT_SPOKEN = 4406;
// With this code a client leaves a connection it will replace: the server keeps its place for the time of grace.
const SILENT = 4408;
// The server may take the client again after these. After any other code it would refuse it again.
const RETURNS = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014, 4008, BAD_TOKEN, SILENT, 4429, 4430, 4431, 4432, 4433, 4434]);
// There is no room: whoever comes back at once makes it worse.
const CROWDED = new Set([4430, 4431, 4432, 4433, 4434]);
const NUMBERS = { first: 0.5, most: 30, patience: 15, maxQueue: 1000, maxQueueBytes: 2 ** 20 };
const EVENTS = ["message", "joined", "left", "presence", "state", "resync"];
/** @type {Record<string, Record<string, unknown>>} By example: what frames must have. Other types may come. */
const FIELDS = {
  hello: { client: "", epoch: "", seq: 0, direct: 0, recovered: "", resumed: true, heartbeat: 25, grace: 15, token: "" },
  reply: { id: 1 }, ack: { id: 1 }, refused: { id: 1, code: 4403 },
  presence: { seq: 1, event: "", member: {} },
  resync: { epoch: "", seq: 0 },
  closing: { code: 1000, reconnect: false },
};

export class HubError extends Error { name = "HubError"; }
export class HubTimeout extends HubError { name = "HubTimeout"; }
export class HubQueueFull extends HubError { name = "HubQueueFull"; }
export class HubRefused extends HubError {
  name = "HubRefused";
  /** @param {number} code @param {string} reason */
  constructor(code, reason) {
    super(`the hub does not take it, with ${code}${reason && `: ${reason}`}`);
    this.code = code;
    this.reason = reason;
  }
}
export class HubClosed extends HubError {
  name = "HubClosed";
  /** @param {number} code @param {string} reason */
  constructor(code, reason) {
    super(`the hub is closed with ${code}${reason && `: ${reason}`}; connect() makes a new one`);
    this.code = code;
    this.reason = reason;
  }
}

/** @param {string | URL} url @param {Options} [options] */
export const connect = (url, options) => new Hub(url, options);

/** @implements {Promised} */
export class Hub {
  /** @type {string} */ #url;
  /** @type {typeof NUMBERS & Pick<Options, "ticket"> & {WebSocket: NonNullable<Options["WebSocket"]>}} */ #options;
  /** @type {Map<string, Set<{fn: (event: any) => void}>>} */
  #listeners = new Map(EVENTS.map((name) => [name, new Set()]));
  /** @type {Outbox} */ #outbox;
  /** @type {Map<number, {resolve: (data: any) => void, reject: (error: Error) => void, timer: any}>} */
  #requests = new Map();
  /** @type {Map<string, Member>} */ #members = new Map();
  /** @type {{nonce?: string, token?: string | undefined, epoch?: string, seq?: number, direct?: number | undefined}} For `connect`. */
  #known = { nonce: nonce() };
  /** @type {EventMap["state"]} */ #state = { state: "connecting" };
  /** @type {string | null} */ #client = null;
  /** @type {Socket | null} */ #socket = null;
  /** @type {object | null} The ticket that is waited for. */ #wanted = null;
  /** @type {Fields | null} The server's last word on this connection. */ #closing = null;
  /** @type {any} Until hello, or until the next try. */ #timer;
  /** @type {any} */ #heart;
  /** @type {any} Runs from a ping until anything is heard. */ #silence;
  /** @type {any} The same, since somebody looks again. */ #glance;
  #heartbeat = 0;
  #grace = 0;
  #crowded = false; // where it was refused for want of room
  #bound = 0; // of the next wait, in seconds
  #onlineSince = Infinity;
  #awaySince = Date.now(); // from the last connection that lasted

  /** @param {string | URL} url @param {Options} [options] */
  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.location?.href).href.replace(/^http/, "ws");
    if (!/^wss?:/.test(this.#url)) throw new TypeError(`the URL of a hub is ws(s) or http(s); got ${this.#url}`);
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#options = { WebSocket: globalThis.WebSocket, ...NUMBERS, ...given };
    for (const name of /** @type {(keyof typeof NUMBERS)[]} */ (Object.keys(NUMBERS))) {
      // Without a wait it would ask a server that is away as fast as it can.
      if (!(this.#options[name] > 0)) throw new TypeError(`${name} is a number above 0; got ${this.#options[name]}`);
    }
    if (!this.#options.WebSocket) throw new TypeError('no WebSocket here; connect(url, { WebSocket }) takes that of package "ws"');
    this.#outbox = new Outbox(this.#options.maxQueue, this.#options.maxQueueBytes);
    this.#bound = this.#options.first;
    this.#open();
    for (const [target, name] of signs()) target?.addEventListener?.(name, this.#wake);
  }

  get state() { return this.#state.state; }
  get client() { return this.#client; }

  get presence() {
    /** @type {Map<unknown, PresenceGroup>} */ const groups = new Map();
    for (const member of this.#members.values()) {
      const key = member.user ?? member; // nobody in particular is a group alone
      if (!groups.has(key)) groups.set(key, { user: member.user, metas: [] });
      groups.get(key)?.metas.push(member);
    }
    return [...groups.values()];
  }

  /** @template {keyof EventMap} Name @param {Name} name @param {(event: EventMap[Name]) => void} fn */
  on(name, fn) {
    const listeners = this.#listeners.get(name);
    if (!listeners) throw new TypeError(`no event "${name}"; there are ${EVENTS.join(", ")}`);
    const listener = { fn };
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** @param {unknown} data @returns {Promise<void>} */
  send(data) {
    return new Promise((resolve, reject) => void this.#submit("message", data, resolve, reject));
  }

  /** @param {unknown} data @param {{timeout?: number}} [options] @returns {Promise<any>} */
  request(data, { timeout = 30 } = {}) {
    return new Promise((resolve, reject) => {
      const id = this.#submit("request", data, () => {}, reject);
      const timer = setTimeout(() => {
        this.#forget(id);
        reject(new HubTimeout(`no reply within ${timeout} s`));
      }, milliseconds(timeout));
      this.#requests.set(id, { resolve, reject, timer });
    });
  }

  close(code = 1000, reason = "") {
    if (this.state === "closed") return;
    this.#socket?.close(code, reason);
    this.#finish(code, reason);
  }

  /** @param {string} type @param {unknown} data @param {() => void} resolve @param {(error: Error) => void} reject */
  #submit(type, data, resolve, reject) {
    const state = this.#state;
    if (state.state === "closed") throw new HubClosed(state.code, state.reason);
    const { id, frame } = this.#outbox.add(type, data, resolve, reject);
    if (state.state === "online") this.#socket?.send(frame); // else with the next hello
    return id;
  }

  /** As `#open`, where nobody is left who could catch what it throws. */
  #openAgain() {
    try {
      this.#open();
    } catch (error) {
      this.#unmade(error);
    }
  }

  #open() {
    clearTimeout(this.#timer);
    const { ticket, patience } = this.#options;
    if (!ticket) this.#openWith([SUBPROTOCOL]);
    else {
      const wanted = this.#wanted = {};
      const isWanted = () => this.#wanted === wanted; // else it was given up meanwhile
      // Not called within this turn: it may close the hub, or send.
      Promise.resolve().then(() => ticket()).then(checked)
        .then(
          (text) => void (isWanted() && this.#openWith([SUBPROTOCOL, `${TICKET}${text}`])),
          (error) => void (isWanted() && this.#ended(1006, `no ticket came: ${error?.message ?? error}`)),
        )
        .catch((error) => this.#unmade(error));
    }
    this.#timer = setTimeout(() => this.#drop("no hello came"), milliseconds(patience));
    this.#become({ state: "connecting" });
  }

  /** @param {any} error */
  #unmade(error) {
    this.#finish(1006, `no socket can be made: ${error?.message ?? error}`);
  }

  /** @param {string[]} protocols */
  #openWith(protocols) {
    const socket = new this.#options.WebSocket(this.#url, protocols);
    socket.binaryType = "arraybuffer";
    // What a connection says that was given up concerns nobody any more.
    /** @param {string} name @param {(event: any) => void} fn */
    const listen = (name, fn) =>
      socket.addEventListener(name, (/** @type {any} */ event) => void (this.#socket === socket && fn(event)));
    listen("open", () => {
      if (socket.protocol === SUBPROTOCOL) return socket.send(JSON.stringify({ type: "connect", ...this.#known }));
      socket.close(1000);
      this.#finish(NOT_SPOKEN, `the server does not speak ${SUBPROTOCOL}`);
    });
    listen("message", (event) => this.#heard(event.data));
    listen("close", (event) => this.#ended(event.code, event.reason));
    listen("error", () => {}); // "close" comes too, and says what is known
    this.#socket = socket;
  }

  /** @param {string | ArrayBuffer} data */
  #heard(data) {
    this.#calm();
    const frame = read(data);
    // Whatever it was, it may have been a message: the server is asked for it again.
    if (!frame) this.#drop("a frame that is no hub.v1");
    else if (frame.type === "hello") this.#hello(frame);
    else if (frame.type === "closing") this.#closing = frame;
    else if (frame.type === "ack") this.#outbox.acknowledge(frame.id);
    else if (frame.type === "resync") {
      Object.assign(this.#known, { epoch: frame.epoch, seq: frame.seq });
      this.#emit("resync", () => ({ reason: frame.reason ?? "" }));
    } else if (this.#isNew(frame)) this.#deliver(frame);
  }

  /** @param {Fields} hello */
  #hello({ client, epoch, seq, direct, recovered, resumed, heartbeat, grace, token, max_bytes: largest = Infinity, presence }) {
    clearTimeout(this.#timer);
    // What was missed is still to come: until it has, this client has only what it had.
    if (recovered === "yes") {
      seq = Math.min(seq, this.#known.seq ?? seq);
      if (resumed) direct = Math.min(direct, this.#known.direct ?? direct);
    }
    this.#known = { token, epoch, seq, direct };
    this.#client = client;
    this.#onlineSince = Date.now();
    this.#heartbeat = heartbeat;
    this.#grace = grace;
    clearInterval(this.#heart);
    this.#heart = setInterval(() => this.#ping(), milliseconds(heartbeat));
    // The server would close for good with one that is larger, as often as it comes.
    for (const [id, error] of this.#outbox.bound(largest)) {
      this.#requests.get(id)?.reject(error);
      this.#forget(id);
    }
    for (const frame of this.#outbox.frames()) this.#socket?.send(frame);
    if (presence) this.#members = new Map(presence.map((/** @type {Member} */ member) => [member.client, member]));
    this.#become({ state: "online" });
    if (presence) this.#emit("presence", () => this.presence);
    if (recovered === "no") this.#emit("resync", () => ({ reason: "what was missed is no longer kept" }));
  }

  /** Takes over the frame's number; false where this client has had it. @param {Fields} frame */
  #isNew(frame) {
    for (const log of /** @type {const} */ (["seq", "direct"])) {
      if (frame[log] === undefined) continue;
      if (frame[log] <= (this.#known[log] ?? 0)) return false;
      this.#known[log] = frame[log];
    }
    return true;
  }

  /** @param {Fields} frame */
  #deliver(frame) {
    const { type, id, data, seq, direct, event, member } = frame;
    if (type === "refused") this.#refused(frame);
    if (type === "message") this.#emit("message", () => ({ data, seq, direct }));
    if (type === "reply") {
      this.#requests.get(id)?.resolve(data);
      this.#forget(id);
    }
    if (type === "presence") {
      if (event === "left") this.#members.delete(member.client);
      else this.#members.set(member.client, member);
      if (event === "joined" || event === "left") this.#emit(event, () => member);
      this.#emit("presence", () => this.presence);
    }
  }

  /** The server did not take it and never will, or its handler failed. @param {Fields} frame */
  #refused({ id, code, reason = "" }) {
    const error = new HubRefused(code, reason);
    this.#outbox.refuse(id, error);
    this.#requests.get(id)?.reject(error);
    this.#forget(id);
  }

  /** A request is over, with its reply or without. @param {number} id */
  #forget(id) {
    clearTimeout(this.#requests.get(id)?.timer);
    this.#requests.delete(id);
    this.#outbox.forget(id);
  }

  #ping() {
    this.#socket?.send('{"type":"ping"}');
    this.#silence ??= setTimeout(() => this.#drop("nothing heard"), milliseconds(1.5 * this.#heartbeat));
  }

  /** Something was heard, or nothing will be any more. */
  #calm() {
    clearTimeout(this.#silence);
    clearTimeout(this.#glance);
    this.#silence = this.#glance = undefined;
  }

  /** @param {string} reason */
  #drop(reason) {
    const socket = this.#socket;
    this.#ended(SILENT, reason);
    socket?.close(SILENT, reason);
  }

  /** @param {number} code @param {string} reason */
  #ended(code, reason) {
    const closing = this.#closing;
    if (closing) ({ code, reason = "" } = closing);
    this.#disconnect();
    const refused = code === BAD_TOKEN && this.#known.token === undefined;
    if (!(closing ? closing.reconnect : RETURNS.has(code) && !refused)) return this.#finish(code, reason);
    // A new client then; it can still have the hub's broadcasts that it missed.
    if (code === BAD_TOKEN) Object.assign(this.#known, { token: undefined, direct: undefined, nonce: nonce() });
    this.#wait(code, reason);
  }

  /** @param {number} code @param {string} reason */
  #wait(code, reason) {
    const { first, most } = this.#options;
    const crowded = this.#crowded = CROWDED.has(code);
    const now = Date.now();
    // A connection that did not last is a failure too, or a server that is full would be asked for ever.
    if (now - this.#onlineSince > this.#bound * 1000) {
      this.#bound = first;
      this.#awaySince = now;
    }
    this.#onlineSince = Infinity;
    this.#awaySince = Math.min(this.#awaySince, now); // the clock may have been set back
    if (crowded) this.#bound = Math.max(this.#bound, most / 4);
    // Not longer than it has been away, nor past the end of its grace: lucky short waits before make no long one now.
    const away = (now - this.#awaySince) / 1000;
    const mine = away < this.#grace ? Math.min(away, this.#grace - away) : away;
    const bound = crowded ? this.#bound : Math.min(this.#bound, Math.max(first, mine));
    const offline = globalThis.navigator?.onLine === false;
    // Nobody looks, or nothing can come of it: no hurry. "online" may be said late or never, so it tries all the same.
    const share = crowded ? (1 + Math.random()) / 2 : Math.random();
    const wait = share * milliseconds(offline || hidden() ? most : bound);
    this.#bound = Math.min(2 * this.#bound, most);
    this.#timer = setTimeout(() => this.#openAgain(), wait);
    this.#become({ state: offline ? "offline" : "waiting", until: now + wait, code, reason });
  }

  /** Somebody looks again, or the network is back: what waits goes at once, and what seems alive is asked. */
  #wake = () => {
    if (hidden()) return;
    if (this.state === "online") {
      this.#ping();
      this.#glance ??= setTimeout(() => this.#drop("nothing heard"), milliseconds(GLANCE));
    } else if ((this.state === "waiting" || this.state === "offline") && !this.#crowded) this.#openAgain();
  };

  /** @param {number} code @param {string} reason */
  #finish(code, reason) {
    this.#disconnect();
    for (const [target, name] of signs()) target?.removeEventListener?.(name, this.#wake);
    const closed = new HubClosed(code, reason);
    this.#outbox.reject(closed);
    for (const [id, { reject }] of this.#requests) {
      this.#forget(id);
      reject(closed);
    }
    this.#become({ state: "closed", code, reason });
  }

  #disconnect() {
    this.#calm();
    clearTimeout(this.#timer);
    clearInterval(this.#heart);
    this.#socket = null;
    this.#wanted = null;
    this.#closing = null;
  }

  /** @param {EventMap["state"]} state */
  #become(state) {
    this.#state = state;
    this.#emit("state", () => state);
  }

  /** @template {keyof EventMap} Name @param {Name} name @param {() => EventMap[Name]} event made only if wanted */
  #emit(name, event) {
    const listeners = this.#listeners.get(name) ?? new Set();
    for (const listener of [...listeners]) {
      if (!listeners.has(listener)) continue; // another one took it off
      if (this.state === "closed" && event() !== this.#state) return; // a listener closed it: that was its last word
      try {
        listener.fn(event());
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

/** What the hub has not acknowledged yet, in the order in which it was sent. */
class Outbox {
  /** @type {Map<number, {frame: Frame, bytes: number, resolve: () => void, reject: (error: Error) => void}>} */
  #kept = new Map();
  #bytes = 0;
  #largest = Infinity;
  #last = 0;

  /** @param {number} most @param {number} mostBytes */
  constructor(most, mostBytes) {
    this.most = most;
    this.mostBytes = mostBytes;
  }

  /** @param {string} type @param {unknown} data @param {() => void} resolve @param {(error: Error) => void} reject */
  add(type, data, resolve, reject) {
    const id = this.#last + 1;
    const frame = written({ type, id }, data);
    const bytes = typeof frame === "string" ? new TextEncoder().encode(frame).length : frame.length;
    if (bytes > this.#largest) throw tooBig(bytes, this.#largest);
    if (this.#kept.size >= this.most || this.#bytes + bytes > this.mostBytes) {
      const waiting = `${this.#kept.size} messages of ${this.#bytes} bytes wait for the hub, this one has ${bytes}`;
      throw new HubQueueFull(`${waiting}; maxQueue is ${this.most}, maxQueueBytes ${this.mostBytes}: await send()`);
    }
    this.#last = id;
    this.#bytes += bytes;
    this.#kept.set(id, { frame, bytes, resolve, reject });
    return { id, frame };
  }

  /** All up to this one have been taken. @param {number} last */
  acknowledge(last) {
    for (const [id, { resolve }] of this.#kept) {
      if (id > last) return;
      this.forget(id);
      resolve();
    }
  }

  /** @param {number} id */
  forget(id) {
    this.#bytes -= this.#kept.get(id)?.bytes ?? 0;
    this.#kept.delete(id);
  }

  /** @param {number} id @param {Error} error */
  refuse(id, error) {
    const refused = this.#kept.get(id);
    this.forget(id);
    refused?.reject(error);
  }

  /** From now on a frame has no more bytes than these. Those that have are refused, and returned. @param {number} largest */
  bound(largest) {
    this.#largest = largest;
    /** @type {[number, HubRefused][]} */ const refused = [];
    for (const [id, { bytes }] of this.#kept) if (bytes > largest) refused.push([id, tooBig(bytes, largest)]);
    for (const [id, error] of refused) this.refuse(id, error);
    return refused;
  }

  frames() { return [...this.#kept.values()].map(({ frame }) => frame); }

  /** @param {Error} error */
  reject(error) {
    for (const { reject } of this.#kept.values()) reject(error);
    this.#kept.clear();
  }
}

/** @param {number} bytes @param {number} largest */
const tooBig = (bytes, largest) =>
  new HubRefused(TOO_BIG, `a message may have ${largest} bytes (max_message_bytes), with what is around it this one has ${bytes}`);

/** @param {Record<string, unknown>} head @param {any} data @returns {Frame} */
function written(head, data) {
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) {
    const line = new TextEncoder().encode(`${JSON.stringify(head)}\n`);
    const frame = new Uint8Array(line.length + data.byteLength);
    frame.set(line);
    const { buffer, byteOffset } = ArrayBuffer.isView(data) ? data : { buffer: data, byteOffset: 0 };
    frame.set(new Uint8Array(buffer, byteOffset, data.byteLength), line.length);
    return frame;
  }
  // JSON could say it; the server can't take such text, and closes for good.
  if (typeof data === "string" && /\p{Surrogate}/u.test(data)) throw new TypeError("text with half a character (a lone surrogate)");
  const text = JSON.stringify(data);
  if (text === undefined) throw new TypeError(`data is a JSON value, an ArrayBuffer, or a view of one; got ${typeof data}`);
  return `${JSON.stringify(head).slice(0, -1)},"data":${text}}`;
}

/** A frame of the server; null where it is none. @param {string | ArrayBuffer} data @returns {Fields | null} */
function read(data) {
  const bytes = typeof data === "string" ? null : new Uint8Array(data);
  const end = bytes?.indexOf(10) ?? 0;
  let fields;
  try {
    fields = JSON.parse(typeof data === "string" ? data : new TextDecoder().decode(bytes?.subarray(0, end)));
  } catch {
    return null;
  }
  if (fields === null || typeof fields !== "object") return null;
  if (fields.type === undefined) fields.type = "message";
  if (typeof fields.type !== "string") return null;
  if (bytes) fields.data = bytes.slice(end + 1);
  if ((fields.type === "message" || fields.type === "reply") && fields.data === undefined) return null;
  const { seq = 0, direct = 0, max_bytes = 0 } = fields;
  if (![seq, direct, max_bytes].every(Number.isSafeInteger)) return null;
  const { presence = [], member = { client: "" } } = fields;
  if (!Array.isArray(presence) || ![...presence, member].every((each) => typeof each?.client === "string")) return null;
  const needed = Object.entries(FIELDS[fields.type] ?? {});
  return needed.every(([name, like]) => typeof fields[name] === typeof like && fields[name] !== null) ? fields : null;
}

/** A secret by which the server knows this client until it has a token. */
const nonce = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** As a subprotocol it is a token of HTTP; a page that asks to log in is none. @param {unknown} ticket */
function checked(ticket) {
  if (typeof ticket === "string" && /^[\w!#$%&'*+.^`|~-]+$/.test(ticket)) return ticket;
  throw new TypeError(`a ticket is what the server's hub_ticket returns; got ${String(ticket).slice(0, 80) || "nothing"}`);
}

/** Who says that the network is back, or the page seen again. @returns {[EventTarget | undefined, string][]} */
const signs = () => [[globalThis, "online"], [globalThis, "pageshow"], [globalThis.document, "visibilitychange"]];
const hidden = () => globalThis.document?.visibilityState === "hidden";
/** For a timer; one that is longer would be over at once. @param {number} seconds */
const milliseconds = (seconds) => Math.min(seconds * 1000, 2 ** 31 - 1);
