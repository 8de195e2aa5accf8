// The live page of hubs. What users named is only ever set as text (`textContent`), with control characters shown.
const root = document.getElementById("hubs");
const { socket, list, act } = root.dataset;
const hubName = JSON.parse(document.getElementById("hub-name").textContent);
const mayChange = "mayChange" in root.dataset;
const KEPT = 120;
const EVENTS = 300;
const sight = { hub: hubName, search: "", after: "", by_name: false };
const history = new Map();
let lastAt = Date.now();
// What the last picture said of its time.
let shownAt = null;
// The position of the newest dead letter that is shown.
let newest;

const byId = (id) => document.getElementById(id);

/** What a terminal or a reader might obey: control characters, formats, and those that turn the direction. */
// eslint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
function shown(text) {
  return String(text).replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  if (text !== "") made.textContent = shown(text);
  if (className) made.className = className;
  return made;
}

function cell(text, className = "") {
  return element("td", text ?? "", className);
}

function button(text, fn) {
  const made = element("button", text, "button");
  made.type = "button";
  made.addEventListener("click", fn);
  return made;
}

const seconds = (value) =>
  value === null ? "" : value < 120 ? `${value.toFixed(1)} s` : value < 7200 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3600)} h`;
const clock = (at) => {
  const then = new Date(at * 1000);
  return then.toDateString() === new Date().toDateString() ? then.toLocaleTimeString() : then.toLocaleString();
};
const bytes = (value) => (value < 10000 ? `${value} B` : `${Math.round(value / 1024)} KiB`);

/** Remember a figure, and draw what is known of it. */
function plot(key, value) {
  const points = history.get(key) ?? [];
  history.delete(key);
  history.set(key, points);
  points.push(value);
  if (points.length > KEPT) points.shift();
  while (history.size > 400) history.delete(history.keys().next().value);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...points, 1);
  const line = document.createElementNS(svg.namespaceURI, "polyline");
  const at = (index) => 100 - ((points.length - 1 - index) * 100) / (KEPT - 1);
  line.setAttribute("points", points.map((point, index) => `${at(index).toFixed(1)},${(19 - (18 * point) / most).toFixed(1)}`).join(" "));
  svg.append(line);
  return svg;
}

function cards(figures) {
  byId("cards").replaceChildren(
    ...figures.map(([name, figure, value, warn]) => {
      const card = element("div", "", "card");
      card.append(element("div", name, "name"), element("div", figure, warn ? "figure warn" : "figure"), plot(`card ${name}`, value));
      return card;
    }),
  );
}

function head(names) {
  const row = element("tr");
  row.append(
    ...names.map(([name, className, title]) => {
      const made = element("th", name, className ?? "");
      if (title) made.title = title;
      return made;
    }),
  );
  byId("rows").tHead.replaceChildren(row);
}

/** Something in it is being clicked: to draw it anew would lose the click, or give it to another row. */
const pressed = (table) => table.querySelector(":is(a, button):active") !== null;

function rows(made, next, { rest = 0, of = 0, none = "Nothing here." } = {}) {
  if (pressed(byId("rows"))) return;
  const held = document.activeElement?.closest?.("#rows tbody :is(a, button)");
  const key = held?.closest("tr").dataset.key;
  const place = held && [...held.closest("tr").querySelectorAll("a, button")].indexOf(held);
  byId("rows").tBodies[0].replaceChildren(...made);
  // The keyboard's place outlives a redraw; what is scrolled to does, too.
  if (held) made.find((row) => row.dataset.key === key)?.querySelectorAll("a, button")[place]?.focus({ preventScroll: true });
  byId("none").hidden = made.length > 0;
  byId("none").textContent = shown(none);
  following = next;
  byId("next").hidden = !next;
  byId("first").hidden = !sight.after;
  // The busiest have no next page: their order is another each second, and whoever paged would miss some.
  byId("rest").textContent = !rest ? "" : `These are the busiest${of ? ` of the first ${of} with events waiting` : ""}; there are ${rest} more.`;
  byId("by-name").hidden = !rest;
  byId("busiest").hidden = !sight.by_name || sight.search !== "";
}

function showHubs({ totals, hubs, next, rest, of }) {
  cards([
    ["hubs", totals.hubs, totals.hubs],
    ["members", totals.members, totals.members],
    ["hubs with events waiting", totals.with_mail, totals.with_mail],
    ["messages a second", totals.rate.toFixed(1), totals.rate],
    [totals.silent ? `servers (${totals.silent} silent)` : "servers", totals.servers, totals.servers, totals.silent > 0],
  ]);
  head([["Hub"], ["Members", "number"], ["In/s", "number", "messages of clients, a second"], ["Out/s", "number", "numbered broadcasts, a second"], ["Rate"], ["Waiting", "number"], ["Lag", "number"], ["Dead letters", "number"]]);
  rows(
    hubs.map((hub) => {
      const row = element("tr");
      row.dataset.key = hub.name;
      const link = element("a", hub.name, "code");
      link.href = `${list}?${new URLSearchParams({ hub: hub.name })}`;
      const name = cell("", "text");
      name.append(link);
      if (hub.error) name.append(element("div", hub.error, "warn"));
      const rate = cell("");
      rate.append(plot(`rate ${hub.name}`, hub.in + hub.out));
      const lag = cell(seconds(hub.lag), hub.lag > 10 ? "number warn" : "number");
      if (hub.oldest !== null) lag.title = `the oldest came at ${clock(hub.oldest)}`;
      row.append(
        name, cell(hub.members, "number"), cell(hub.in.toFixed(1), "number"), cell(hub.out.toFixed(1), "number"), rate,
        cell(hub.mail, "number"), lag, cell(hub.dead_letters, hub.dead_letters ? "number warn" : "number"),
      );
      return row;
    }),
    next,
    { rest, of },
  );
}

function showHub({ state, members, dead, next }) {
  cards([
    ["members", state.members, state.members],
    ["events waiting", state.mail, state.mail],
    ["lag", seconds(state.lag) || "none", state.lag ?? 0, state.lag > 10],
    ["messages a second", state.in.toFixed(1), state.in],
    ["broadcasts a second", state.out.toFixed(1), state.out],
    ["dead letters", state.dead_letters, state.dead_letters, state.dead_letters > 0],
  ]);
  byId("status").title = `events: ${shown(state.events)}; worker: ${shown(state.worker) || "none now"}`;
  head([["Client"], ["User"], ["State"], ["Since"], ["Address"], ["Queue", "number"], ["Bytes", "number"], ["Meta"], [""]]);
  rows(
    members.map((member) => {
      const row = element("tr");
      row.dataset.key = member.client;
      const client = cell(member.client, "text code");
      client.title = member.hub_v1 ? "hub.v1" : "raw";
      const does = cell("", "does");
      if (mayChange) {
        does.append(
          button("Send", () => sendTo(member.client)),
          button("Kick", () => confirm(`Close the connection of ${shown(member.client)}?`) && perform({ action: "kick", client: member.client })),
        );
      }
      const meta = JSON.stringify(member.meta);
      row.append(
        client, cell(member.username ?? member.user ?? "", "text"), cell(member.state, member.state === "lost" ? "warn" : ""),
        cell(clock(member.since)), cell(member.address), cell(member.queue ?? "", member.queue > 100 ? "number warn" : "number"),
        cell(member.bytes === null ? "" : bytes(member.bytes), "number"),
        cell(meta === "{}" ? "" : meta.length > 200 ? `${meta.slice(0, 200)}…` : meta, "text"), does,
      );
      return row;
    }),
    next,
    { none: state.error || (state.there ? "Nothing here." : "There is no such hub now. It is there again with its next client.") },
  );
  const section = byId("dead");
  if (pressed(section)) return;
  section.hidden = !dead.length;
  const kept = JSON.stringify(dead);
  if (section.dataset.kept === kept) return;
  section.dataset.kept = kept;
  newest = dead[0]?.position;
  section.querySelector("tbody").replaceChildren(
    ...dead.map((letter) => {
      const row = element("tr");
      const what = `${letter.kind} ${letter.client} ${letter.text}`;
      const does = cell("", "does");
      if (mayChange) {
        const one = (action) => perform({ action, position: letter.position });
        does.append(
          button("Retry", () => one("retry")),
          button("Drop", () => confirm(`Drop this dead letter for good?\n${shown(what)}`) && one("drop")),
        );
      }
      row.append(cell(clock(letter.at)), cell(what, "text"), cell(letter.error, "text"), does);
      return row;
    }),
  );
}

function showEvents({ events, missed }) {
  const log = byId("events");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
  if (missed) log.append(element("li", "(more happened than can be shown)"));
  for (const event of events) {
    const line = element("li", `${clock(event.at)} `, event.failed ? "failed" : "");
    line.append(element("span", `${event.kind}${event.failed ? " failed" : ""} `, "kind"), element("span", event.client, "code"), " ", element("span", event.text, "code"));
    log.append(line);
  }
  while (log.children.length > EVENTS) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

async function perform(fields) {
  const body = new URLSearchParams({ hub: hubName, ...fields });
  let ok = false;
  let text;
  try {
    const token = root.querySelector("[name=csrfmiddlewaretoken]").value;
    const response = await fetch(act, { method: "POST", body, headers: { "X-CSRFToken": token } });
    ({ ok, text } = response.headers.get("content-type")?.includes("json")
      ? await response.json()
      : { ok: false, text: `The server says ${response.status}. Are you still logged in?` });
  } catch (error) {
    text = `It did not get to the server: ${error.message}`;
  }
  const said = byId("said");
  said.textContent = shown(text);
  said.classList.toggle("failed", !ok);
  said.hidden = false;
  return ok;
}

function sendTo(client) {
  const text = prompt(`Send this text to ${shown(client)}:`);
  if (text) perform({ action: "send", client, text, as: "text" });
}

let following = "";
let hub = null;
function look(changes = {}) {
  Object.assign(sight, changes);
  if (hub?.state === "online") hub.send({ ...sight }).catch(() => {});
}

byId("find").addEventListener("submit", (event) => event.preventDefault());
let typing;
byId("find").addEventListener("input", (event) => {
  // Each look costs the broker something: who types is shown what was typed, not each letter.
  clearTimeout(typing);
  typing = setTimeout(() => look({ search: event.target.value, after: "" }), 200);
});
byId("next").addEventListener("click", () => look({ after: following }));
byId("first").addEventListener("click", () => look({ after: "" }));
byId("by-name").addEventListener("click", () => look({ by_name: true, after: "" }));
byId("busiest").addEventListener("click", () => look({ by_name: false, after: "" }));
byId("broadcast")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (await perform({ action: "broadcast", ...Object.fromEntries(new FormData(form)) })) form.elements.text.value = "";
});
byId("dead")?.addEventListener("click", (event) => {
  const { action } = event.target.dataset;
  // Not those that come while it is asked: nobody has seen them.
  const until = newest;
  if (action && confirm(`${action} all dead letters of this hub?`)) perform({ action, until });
});

function status(state, text) {
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

const { connect } = await import(root.dataset.module);
hub = connect(socket);
// The page could not see that anybody answers there.
let unseen = "unseen" in root.dataset;
hub.on("state", (now) => {
  if (now.state === "online") unseen = false;
  if (unseen && now.state === "waiting") {
    unseen = false;
    hub.close();
    byId("no-route").hidden = false;
    status("closed", "Not live");
  } else if (now.state === "online") {
    status("online", "Live");
    lastAt = Date.now();
    look();
  } else if (now.state === "closed") {
    status("closed", `Closed (${now.code}): ${shown(now.reason) || "reload the page"}`);
  } else {
    status(now.state, now.state === "connecting" ? "Connecting…" : "No connection; trying again");
  }
});
hub.on("message", ({ data }) => {
  if (data.view === "events") {
    if (data.hub === hubName) showEvents(data);
    return;
  }
  // One of before the last search may still be on its way.
  if (["search", "after", "by_name"].some((name) => data.sight[name] !== sight[name])) return;
  lastAt = Date.now();
  shownAt = data.at;
  const silent = data.silent ? `; silent servers: ${data.silent}` : "";
  status("online", `Live, as of ${clock(data.at)}${silent}`);
  if (data.view === "error") rows([], "", { none: data.error });
  else (data.view === "hub" ? showHub : showHubs)(data);
});
setInterval(() => {
  // Without the broker a page that is opened does not even get in.
  if (!["online", "connecting"].includes(hub.state) || Date.now() - lastAt <= 8000) return;
  status("waiting", `${shownAt === null ? "Nothing comes" : `Nothing new since ${clock(shownAt)}`}; is the broker there?`);
}, 2000);
