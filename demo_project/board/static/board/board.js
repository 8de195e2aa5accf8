// A board. Its data comes from a view, changes go to views, and the hub tells every page what was changed.

import { Status } from "../chat/status.js";
import { connect } from "../django_hub/hub.js";
import { Cursors } from "./cursors.js";
import { Notes } from "./notes.js";
import { Pace } from "./pace.js";
import { showPeople } from "./people.js";
import { get, post } from "./requests.js";

const MOST = 10; // seconds: the longest bound of a wait between two tries
const TOAST = 6000;

const find = (id) => document.getElementById(id);
const { me, user, socket, notices, source, notes: notesUrl, lock: lockUrl } = find("board").dataset;
const sheet = find("sheet");

let hub;
let locked = false;

function toast(text) {
  const element = document.createElement("p");
  element.className = "toast";
  element.textContent = text;
  find("toasts").append(element);
  setTimeout(() => element.remove(), TOAST);
}

// Changes

// A place is on its way in the hub, the change goes by another: it must not be overtaken by the former.
const pace = new Pace((place) => hub.send(place));
const online = () => hub.state === "online";
const noteUrl = (id, what = "") => `${notesUrl}${id}/${what}`;

// What was not taken is loaded anew: the page then shows what is.
async function change(url, fields) {
  try {
    return await post(url, fields);
  } catch (error) {
    toast(error.message);
    if (error.status) load();
    return {};
  }
}

const notes = new Notes({
  sheet,
  template: find("sticky"),
  leading: find("leading"),
  none: find("leading-none"),
  user: Number(user),
  does: {
    dragging: (id, { x, y }) => online() && pace.tell({ note: id, x, y }),
    moved: async (id, { x, y }) => {
      await pace.stop();
      change(noteUrl(id), { x, y });
    },
    written: (id, text) => change(noteUrl(id), { text }),
    voted: (id, wanted) => change(noteUrl(id, "vote/"), { wanted: wanted ? "yes" : "no" }),
    removed: (id) => change(noteUrl(id, "remove/")),
  },
});

// Where a new note could be: some places of the part of the sheet that is seen.
function spotsInView() {
  const seen = find("scroll").getBoundingClientRect();
  const box = sheet.getBoundingClientRect();
  const [left, right] = [Math.max(seen.left, box.left), Math.min(seen.right, box.right)];
  const [upper, lower] = [Math.max(seen.top, box.top), Math.min(seen.bottom, box.bottom)];
  return Array.from({ length: 30 }, () => ({
    x: (left + (right - left) * (0.03 + Math.random() * 0.94) - box.left) / box.width,
    y: (upper + (lower - upper) * (0.03 + Math.random() * 0.94) - box.top) / box.height,
  }));
}

find("add").addEventListener("click", async () => {
  const { x, y } = notes.emptiest(spotsInView());
  const { note } = await change(notesUrl, { x, y });
  if (!note) return;
  take({ type: "note", note });
  notes.focus(note.id, "textarea");
});

find("lock").addEventListener("click", () => change(lockUrl, { wanted: locked ? "no" : "yes" }));

sheet.addEventListener("pointermove", ({ clientX, clientY, pointerType }) => {
  // A finger is no cursor; and the note that is dragged shows where we are.
  if (pointerType !== "mouse" || !online() || sheet.querySelector(".dragged")) return;
  const box = sheet.getBoundingClientRect();
  const [x, y] = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  if (x >= 0 && x <= 1 && y >= 0 && y <= 1) pace.tell({ x, y });
});

// What the hub tells. Each change has the board's revision: what a load had in it already is passed over, and so is
// what two servers told in another order than they did it in.

const cursors = new Cursors(sheet);
const newest = new Map(); // what → revision
let loaded = null; // revision of the last load
let waiting = null; // messages that came since a load began, but for moves, which are old when it is done

function isNew(what, revision) {
  if (revision <= Math.max(loaded, newest.get(what) ?? 0)) return false;
  newest.set(what, revision);
  return true;
}

const handlers = {
  note: ({ note }) => isNew(note.id, note.revision) && notes.show(note),
  gone: ({ note, revision }) => isNew(note, revision) && notes.remove(note),
  locked: (told) => {
    if (!isNew("lock", told.revision)) return;
    locked = told.locked;
    showMode();
  },
  moves: ({ client, note, x, y }) => {
    if (note === undefined) cursors.show(client, x, y);
    else if (!locked) notes.follow(note, x, y);
  },
};

function take(message) {
  if (waiting) {
    if (message.type !== "moves") waiting.push(message);
  } else handlers[message.type]?.(message);
}

async function load() {
  const since = (waiting = []);
  showMode();
  let data;
  while (!data) {
    try {
      data = await get(source);
    } catch (error) {
      if (error.status) {
        toast(error.message);
        hub.close();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    if (waiting !== since) return; // another one began later
  }
  newest.clear();
  loaded = data.revision;
  locked = data.locked;
  notes.replace(data.notes);
  waiting = null;
  showMode();
  since.forEach(take);
}

// Read-only is: locked, or cut off, or not loaded yet.

const status = new Status(find("state"), document.createElement("span"), { onAgain: enter });

function showMode() {
  const up = online() && !waiting;
  const editable = up && !locked;
  notes.enable(editable);
  document.body.classList.toggle("read-only", !editable);
  find("add").disabled = !editable;
  find("lock").disabled = !up;
  find("lock").textContent = locked ? "Unlock" : "Lock";
  const text = up ? "The board is locked: nobody can change it." : "You can look, and change things when you are back.";
  find("mode").textContent = text;
  // Before the first load there is nothing to be said, and that takes no time to speak of.
  find("mode").hidden = editable || loaded === null || (online() && !locked);
}

function onState(state) {
  status.show(state);
  if (state.state === "online" && loaded === null) load();
  showMode();
}

function enter() {
  loaded = null;
  hub = connect(socket, { most: MOST });
  hub.on("message", ({ data }) => take(data));
  hub.on("presence", (groups) => {
    showPeople(find("people"), find("people-count"), groups, me);
    cursors.replace(groups.flatMap(({ metas }) => metas));
  });
  // Away for longer than the hub's history goes back.
  hub.on("resync", load);
  hub.on("state", onState);
  onState({ state: hub.state });
}

enter();

// In our own hub: what concerns only us, on whatever board it happened.
connect(notices, { most: MOST }).on("message", ({ data: { by, text } }) => {
  toast(`${by} voted for your note${text ? ` “${text}”` : ""}.`);
});
