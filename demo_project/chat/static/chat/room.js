// A room: joins the hub, the people, the log and the composer.

import { connect } from "../django_hub/hub.js";
import { Composer } from "./composer.js";
import { Log } from "./log.js";
import { guestName } from "./names.js";
import { People } from "./people.js";
import { Status } from "./status.js";
import { Typing } from "./typing.js";

// Seconds: the longest bound of a wait between two tries, for someone sits there and looks.
const MOST = 10;

const find = (id) => document.getElementById(id);
const { name: given, socket } = find("chat").dataset;
const me = given || guestName();
const title = document.title;

find("me").textContent = me;

const log = new Log(find("log"), find("newer"));
const typing = new Typing(find("typing"));
const status = new Status(find("state"), find("unsent"), { onAgain: () => enter() });
const people = new People(find("people"), find("people-count"), {
  me,
  onPick: (name) => composer.pick(name),
});
const composer = new Composer(find("composer"), {
  onPicked: (name) => people.mark(name),
  onTyping: ({ to }) => {
    // What is written to one person is nobody else's business. And nobody cares later that we did.
    if (to === null && hub.state === "online" && typing.due()) hub.send({ type: "typing" }).catch(() => {});
  },
  onSend: ({ text, to }) => {
    typing.done();
    send(to === null ? { type: "say", text } : { type: "tell", to, text });
    // What is told comes back to nobody, so the teller's own copy is written here.
    if (to !== null) log.say({ from: me, text, mark: `only to ${to}`, mine: true });
  },
});

// Where the connection is lost it goes out with the next one: the hub keeps it until then.
async function send(message) {
  try {
    await status.sending(hub.send(message));
  } catch (error) {
    log.note(`Not sent: “${message.text}” (${error.message})`, "error");
  }
}

const moved = new Set(); // names whose connection was replaced: they come straight back
let unread = 0;

function setUnread(count) {
  unread = count;
  document.title = unread ? `(${unread}) ${title}` : title;
}

function say(said) {
  typing.hide(said.from);
  log.say(said);
  if (document.hidden) setUnread(unread + 1);
}

// The application's own messages. Who is here ("members" to other clients) the hub tells us by itself.
const handlers = {
  joined: ({ client }) => {
    if (!moved.delete(client)) log.note(client === me ? "You joined" : `${client} joined`);
  },
  left: ({ client, reason }) => {
    if (reason === "replaced") return moved.add(client);
    typing.hide(client);
    log.note(reason === "lost" ? `${client} was lost` : `${client} left`);
  },
  said: ({ client, text }) => say({ from: client, text, mine: client === me }),
  told: ({ client, text }) => say({ from: client, text, mark: "only to you" }),
  typing: ({ client }) => typing.show(client),
  error: ({ error }) => log.note(error, "error"),
};

function onMessage({ data }) {
  if (data instanceof Uint8Array) return log.note(`${data.byteLength} bytes of data came in`);
  handlers[data.type]?.(data);
}

function onState(state) {
  status.show(state);
  composer.enable(state.state !== "closed");
  if (state.state === "closed") people.replace([]);
}

function onResync() {
  moved.clear();
  log.note("You were away too long: what was said meanwhile is not kept any more", "gap");
}

let hub;

function enter() {
  hub = connect(`${socket}?${new URLSearchParams({ name: me })}`, { most: MOST });
  hub.on("message", onMessage);
  hub.on("presence", (groups) => {
    people.replace(groups.flatMap((group) => group.metas));
    people.mark(composer.picked);
  });
  hub.on("resync", onResync);
  hub.on("state", onState);
  onState({ state: hub.state });
}

document.addEventListener("visibilitychange", () => document.hidden || setUnread(0));
enter();
// On a phone the focus would bring up the keyboard over the half of the page.
if (matchMedia("(pointer: fine)").matches) find("text").focus({ preventScroll: true });
