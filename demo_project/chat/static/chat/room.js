// A room: joins the socket, the people, the log and the composer.

import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Log } from "./log.js";
import { guestName } from "./names.js";
import { People } from "./people.js";

const find = (id) => document.getElementById(id);
const { name: given, socket } = find("chat").dataset;
const me = given || guestName();
const title = document.title;

find("me").textContent = me;

const log = new Log(find("log"), find("newer"));
const people = new People(find("people"), find("people-count"), {
  me,
  onPick: (name) => composer.pick(name),
});
const composer = new Composer(find("composer"), {
  onPicked: (name) => people.mark(name),
  onSend: ({ text, to }) => {
    if (to === null) return connection.send({ type: "say", text });
    // What is told comes back to nobody, so the teller's own copy is written here.
    const sent = connection.send({ type: "tell", to, text });
    if (sent) log.say({ from: me, text, mark: `only to ${to}`, mine: true });
    return sent;
  },
});

const moved = new Set(); // names whose connection was replaced: they come straight back
let unread = 0;

function setUnread(count) {
  unread = count;
  document.title = unread ? `(${unread}) ${title}` : title;
}

const handlers = {
  members: ({ members }) => {
    moved.clear();
    people.replace(members);
    people.mark(composer.picked);
  },
  joined: ({ client }) => {
    people.add(client);
    people.mark(composer.picked);
    if (!moved.delete(client)) log.note(client === me ? "You joined" : `${client} joined`);
  },
  left: ({ client, reason }) => {
    if (reason === "replaced") return moved.add(client);
    people.remove(client);
    log.note(reason === "lost" ? `${client} was lost` : `${client} left`);
  },
  said: ({ client, text }) => {
    log.say({ from: client, text, mine: client === me });
    if (document.hidden) setUnread(unread + 1);
  },
  told: ({ client, text }) => {
    log.say({ from: client, text, mark: "only to you" });
    if (document.hidden) setUnread(unread + 1);
  },
  error: ({ error }) => log.note(error, "error"),
};

function onMessage(data) {
  if (typeof data !== "string") return log.note(`${data.byteLength} bytes of data came in`);
  const message = JSON.parse(data);
  handlers[message.type]?.(message);
}

// Each: what it says, and what the button beside it offers.
const states = {
  connecting: ["Connecting…", ""],
  connected: ["Connected", ""],
  lost: ["Connection lost.", "Try now"],
  replaced: ["Open in another window", "Use it here"],
  refused: ["Not let in", ""],
};

function onState({ state, seconds }) {
  const [text, action] = states[state];
  find("state").dataset.state = state;
  find("state-text").textContent = text;
  // Apart from the text, and hidden from screen readers: they would read out every second of it.
  find("state-wait").textContent = seconds ? `Next try in ${seconds} s` : "";
  find("retry").textContent = action;
  find("retry").hidden = !action;
  composer.enable(state === "connected");
  if (state === "replaced") people.replace([]);
}

const address = new URL(socket, location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
address.search = new URLSearchParams({ name: me });
const connection = new Connection(address, { onState, onMessage });

find("retry").addEventListener("click", () => connection.open());
document.addEventListener("visibilitychange", () => document.hidden || setUnread(0));
connection.open();
// On a phone the focus would bring up the keyboard over the half of the page.
if (matchMedia("(pointer: fine)").matches) find("text").focus({ preventScroll: true });
