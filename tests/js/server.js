// A websocket server whose every step a test says by itself, and the waiting for what a client does.

import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";

import { connect } from "../../django_hub/static/django_hub/hub.js";

/** What comes later, in order, for whoever asks in order. */
class Queue {
  items = [];
  asking = [];

  put(item) {
    const ask = this.asking.shift();
    if (ask) ask(item);
    else this.items.push(item);
  }

  next() {
    if (this.items.length) return Promise.resolve(this.items.shift());
    return new Promise((resolve) => this.asking.push(resolve));
  }
}

class Connection {
  #frames = new Queue();

  constructor(socket) {
    this.socket = socket;
    this.closed = once(socket, "close").then(([code, reason]) => ({ code, reason: `${reason}` }));
    socket.on("message", (data, binary) => this.#frames.put(binary ? data : JSON.parse(data)));
    socket.on("error", () => {});
  }

  /** The next frame of the client. */
  next = () => this.#frames.next();

  say(frame) {
    this.socket.send(typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }

  /** Reads `connect`, answers with hello, and returns what the client said. */
  async greet(hello = {}) {
    const said = await this.next();
    this.say({
      type: "hello", client: "c1", hub: "room", epoch: "e1", seq: 0, direct: 0, recovered: "new",
      resumed: false, heartbeat: 25, grace: 15, token: "t1", ...hello,
    });
    return said;
  }
}

/** Starts a server for one test, with a hub that connects to it, and ends both with the test. */
export async function meet(t, options = {}, protocols = () => "hub.v1") {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: protocols });
  await once(server, "listening");
  const connections = new Queue();
  server.on("connection", (socket) => connections.put(new Connection(socket)));
  const hub = connect(`http://127.0.0.1:${server.address().port}/`, { WebSocket, first: 0.01, most: 0.05, ...options });
  const events = [];
  for (const name of ["message", "joined", "left", "presence", "state", "resync"]) {
    hub.on(name, (event) => events.push([name, event]));
  }
  t.after(() => {
    hub.close();
    for (const client of server.clients) client.terminate();
    server.close();
  });
  return { hub, events, next: () => connections.next() };
}

/** The next event of that name for which `holds`. */
export const event = (hub, name, holds = () => true) =>
  new Promise((resolve) => {
    const off = hub.on(name, (told) => {
      if (!holds(told)) return;
      off();
      resolve(told);
    });
  });

export const state = (hub, name) => event(hub, "state", (told) => told.state === name);
