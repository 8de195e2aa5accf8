import assert from "node:assert/strict";
import { test } from "node:test";

import { WebSocket } from "ws";

import { connect, Hub, HubClosed, HubError, HubQueueFull, HubRefused, HubTimeout } from "../../django_hub/static/django_hub/hub.js";
import { event, meet, state } from "./server.js";

const named = (events, name) => events.filter(([of]) => of === name).map(([, told]) => told);
const member = (client, user = null, rest = {}) => ({ client, user, meta: {}, state: "online", ...rest });

/** @param {Record<string, unknown>} connect */
function withoutNonce({ nonce, ...rest }) {
  assert.match(String(nonce), /^[0-9a-f]{32}$/);
  return rest;
}

test("a new client says nothing of itself, and is online with hello", async (t) => {
  const { hub, events, next } = await meet(t);
  assert.deepEqual([hub.state, hub.client, hub.presence], ["connecting", null, []]);
  const connection = await next();
  const online = state(hub, "online");
  assert.deepEqual(withoutNonce(await connection.greet()), { type: "connect" });
  await online;
  assert.equal(hub.client, "c1");
  assert.deepEqual(named(events, "resync"), []);
});

test("messages come with their numbers, and each once", async (t) => {
  const { hub, events, next } = await meet(t);
  const connection = await next();
  await connection.greet({ seq: 4 });
  connection.say({ seq: 5, data: { a: [1] } });
  connection.say({ type: "message", seq: 5, data: "again" });
  connection.say({ type: "message", direct: 1, data: "for you" });
  connection.say(Buffer.from('{"seq":9}\n\x00\n\x01', "latin1"));
  connection.say({ type: "news of a later version" });
  connection.say({ data: null });
  await event(hub, "message", ({ data }) => data === null);
  assert.deepEqual(named(events, "message"), [
    { data: { a: [1] }, seq: 5, direct: undefined },
    { data: "for you", seq: undefined, direct: 1 },
    { data: new Uint8Array([0, 10, 1]), seq: 9, direct: undefined },
    { data: null, seq: undefined, direct: undefined },
  ]);
});

test("on return it says what it had, and takes what it missed", async (t) => {
  const { hub, events, next } = await meet(t);
  let connection = await next();
  await connection.greet({ seq: 7 });
  connection.say({ type: "message", seq: 9, data: 1 });
  connection.say({ type: "message", direct: 2, data: 2 });
  await event(hub, "message", ({ direct }) => direct === 2);
  connection.socket.terminate();
  connection = await next();
  const said = await connection.greet({ recovered: "yes", resumed: true, seq: 12, direct: 3, token: "t2" });
  assert.deepEqual(said, { type: "connect", token: "t1", epoch: "e1", seq: 9, direct: 2 });
  // It drops before what it missed has come: it still lacks all of it.
  connection.say({ type: "message", seq: 10, data: 3 });
  await event(hub, "message", ({ seq }) => seq === 10);
  connection.socket.terminate();
  connection = await next();
  assert.deepEqual(await connection.greet({ recovered: "yes", resumed: true, seq: 12, direct: 3 }), {
    type: "connect", token: "t2", epoch: "e1", seq: 10, direct: 2,
  });
  connection.say({ type: "message", seq: 12, data: 4 });
  connection.say({ type: "message", direct: 3, data: 5 });
  await event(hub, "message", ({ direct }) => direct === 3);
  assert.deepEqual(named(events, "message").map(({ data }) => data), [1, 2, 3, 4, 5]);
  assert.deepEqual(named(events, "resync"), []);
});

test("two drops in a row, one before hello: numbers and messages are kept", async (t) => {
  const { hub, next } = await meet(t);
  let connection = await next();
  await connection.greet({ seq: 3 });
  const sent = [hub.send("a"), hub.request("b"), hub.send("c")];
  for (const id of [1, 2, 3]) assert.equal((await connection.next()).id, id);
  connection.socket.terminate();
  connection = await next();
  assert.equal((await connection.next()).seq, 3);
  connection.socket.terminate();
  await state(hub, "waiting");
  sent.push(hub.send("d"));
  connection = await next();
  assert.deepEqual(await connection.greet({ recovered: "yes", resumed: true, seq: 3 }), {
    type: "connect", token: "t1", epoch: "e1", seq: 3, direct: 0,
  });
  const again = [await connection.next(), await connection.next(), await connection.next(), await connection.next()];
  assert.deepEqual(again, [
    { type: "message", id: 1, data: "a" }, { type: "request", id: 2, data: "b" },
    { type: "message", id: 3, data: "c" }, { type: "message", id: 4, data: "d" },
  ]);
  connection.say({ type: "ack", id: 3 });
  await Promise.all([sent[0], sent[2]]);
  connection.socket.terminate();
  connection = await next();
  await connection.greet({ recovered: "yes", resumed: true, seq: 3 });
  assert.equal((await connection.next()).id, 4);
  connection.say({ type: "reply", id: 2, direct: 1, data: "B" });
  connection.say({ type: "ack", id: 4 });
  assert.deepEqual(await Promise.all(sent), [undefined, "B", undefined, undefined]);
});

test("what can't be had any more is told, and it goes on from the new number", async (t) => {
  const { hub, next } = await meet(t);
  let connection = await next();
  await connection.greet({ seq: 3 });
  await state(hub, "online");
  connection.socket.terminate();
  connection = await next();
  let resync = event(hub, "resync");
  await connection.greet({ recovered: "no", epoch: "e2", seq: 1 });
  assert.match((await resync).reason, /no longer kept/);
  resync = event(hub, "resync");
  connection.say({ type: "resync", epoch: "e3", seq: 0, reason: "too slow" });
  assert.deepEqual(await resync, { reason: "too slow" });
  connection.say({ type: "message", seq: 1, data: "first" });
  await event(hub, "message");
  connection.socket.terminate();
  assert.deepEqual(await (await next()).greet(), { type: "connect", token: "t1", epoch: "e3", seq: 1, direct: 0 });
});

test("what is sent before hello waits for it, in order, bytes too", async (t) => {
  const { hub, next } = await meet(t);
  const sent = [hub.send({ n: 1 }), hub.send(new Uint8Array([9, 10, 11]).subarray(1)), hub.send(new Uint8Array([7]).buffer)];
  const connection = await next();
  await connection.greet();
  assert.deepEqual(await connection.next(), { type: "message", id: 1, data: { n: 1 } });
  assert.equal(`${await connection.next()}`, '{"type":"message","id":2}\n\n\x0b');
  assert.equal(`${await connection.next()}`, '{"type":"message","id":3}\n\x07');
  connection.say({ type: "ack", id: 3 });
  await Promise.all(sent);
});

test("what the server does not take is refused, and it stays", async (t) => {
  const { hub, next } = await meet(t);
  const [message, request] = [hub.send(1), hub.request(2)];
  const connection = await next();
  await connection.greet();
  for (const id of [1, 2]) connection.say({ type: "refused", id, code: 4403, reason: "may not send" });
  await assert.rejects(message, (error) => error instanceof HubRefused && error.code === 4403);
  await assert.rejects(request, HubRefused);
  assert.equal(hub.state, "online");
});

test("a request whose handler failed is refused after its acknowledgement, once", async (t) => {
  const { hub, next } = await meet(t);
  const request = hub.request(1);
  const connection = await next();
  await connection.greet();
  connection.say({ type: "ack", id: 1 });
  connection.say({ type: "refused", id: 1, direct: 3, code: 1011, reason: "the handler failed" });
  await assert.rejects(request, (error) => error instanceof HubRefused && error.code === 1011);
  connection.socket.close(4408);
  const again = await next();
  assert.equal((await again.next()).direct, 3);
});

test("what is larger than the server takes is refused, whenever it comes, and it stays", async (t) => {
  const { hub, next } = await meet(t);
  const [message, request, small] = [hub.send("é".repeat(40)), hub.request("x".repeat(80)), hub.send(3)];
  const connection = await next();
  await connection.greet({ max_bytes: 100 });
  const tooBig = (error) => error instanceof HubRefused && error.code === 1009;
  await assert.rejects(message, { message: /may have 100 bytes.*this one has 115/ });
  await assert.rejects(request, tooBig);
  assert.deepEqual(await connection.next(), { type: "message", id: 3, data: 3 });
  connection.say({ type: "ack", id: 3 });
  await small;
  const largest = hub.send("x".repeat(100 - '{"type":"message","id":4,"data":""}'.length));
  await assert.rejects(hub.send("x".repeat(66)), tooBig);
  await assert.rejects(hub.send(new Uint8Array(80)), tooBig);
  assert.equal((await connection.next()).id, 4);
  connection.say({ type: "ack", id: 4 });
  await largest;
  assert.equal(hub.state, "online");
});

test("each connection brings a ticket of its own", async (t) => {
  let count = 0;
  const offers = [];
  const ticket = async () => {
    count += 1;
    if (count === 2) throw new Error("no ticket now");
    return `t${count}`;
  };
  const { next } = await meet(t, { ticket }, (protocols) => { offers.push([...protocols]); return "hub.v1"; });
  const connection = await next();
  await connection.greet();
  connection.socket.terminate();
  await (await next()).greet();
  assert.deepEqual(offers, [["hub.v1", "hub.ticket.t1"], ["hub.v1", "hub.ticket.t3"]]);
});

test("what can't be a ticket is none, and the state says so", async (t) => {
  const tickets = [undefined, "", "<title>Log in</title>", "t4"];
  const offers = [];
  const ticket = () => tickets.shift();
  const { events, next } = await meet(t, { ticket }, (protocols) => { offers.push([...protocols]); return "hub.v1"; });
  await (await next()).greet();
  assert.deepEqual(offers, [["hub.v1", "hub.ticket.t4"]]);
  const why = named(events, "state").filter(({ state: now }) => now === "waiting").map(({ code, reason }) => [code, reason]);
  const none = "no ticket came: a ticket is what the server's hub_ticket returns; got";
  assert.deepEqual(why, [[1006, `${none} undefined`], [1006, `${none} nothing`], [1006, `${none} <title>Log in</title>`]]);
});

test("one who closes it instead of giving a ticket is rid of it", async (t) => {
  const { hub, events, next } = await meet(t, { ticket: () => {
    if (hub.client) hub.close();
    return "t";
  } });
  const connection = await next();
  await connection.greet();
  await state(hub, "online");
  connection.socket.terminate();
  await state(hub, "closed");
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(hub.state, "closed");
  assert.equal(named(events, "state").at(-1).state, "closed");
});

test("a ticket that comes after close opens nothing", async (t) => {
  let give = () => {};
  const { hub, events } = await meet(t, { ticket: () => new Promise((resolve) => { give = resolve; }) });
  await new Promise((resolve) => setTimeout(resolve, 5));
  hub.close();
  give("late");
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(hub.state, "closed");
  assert.equal(named(events, "state").at(-1).state, "closed");
});

test("text with half a character is refused at once, and it stays", async (t) => {
  const { hub, next } = await meet(t);
  for (const half of ["\ud83d", "a\udca9b"]) {
    await assert.rejects(hub.send(half), { name: "TypeError", message: /half a character/ });
    await assert.rejects(hub.request(half), TypeError);
  }
  const sent = hub.send("\ud83d\udca9");
  const connection = await next();
  await connection.greet();
  assert.deepEqual(await connection.next(), { type: "message", id: 1, data: "\ud83d\udca9" });
  connection.say({ type: "ack", id: 1 });
  await sent;
});

test("the queue is bounded, in messages and in bytes, and what is no JSON is refused", async (t) => {
  const { hub, next } = await meet(t, { maxQueue: 2, maxQueueBytes: 100 });
  await assert.rejects(hub.send("é".repeat(50)), HubQueueFull);
  await assert.rejects(hub.send(undefined), { name: "TypeError", message: /JSON value.*got undefined/ });
  const sent = [hub.send(1), hub.send(2)];
  await assert.rejects(hub.send(3), { name: "HubQueueFull", message: /2 messages.*maxQueue is 2/ });
  const connection = await next();
  await connection.greet();
  assert.equal((await connection.next()).id, 1);
  connection.say({ type: "ack", id: 2 });
  await Promise.all(sent);
  const third = hub.send(4);
  assert.equal((await connection.next()).id, 2);
  assert.deepEqual(await connection.next(), { type: "message", id: 3, data: 4 });
  connection.say({ type: "ack", id: 3 });
  await third;
});

test("a request that has no reply in time is over, and never sent if it was not yet", async (t) => {
  const { hub, next } = await meet(t);
  await assert.rejects(hub.request("late", { timeout: 0.01 }), HubTimeout);
  const connection = await next();
  await connection.greet();
  const asked = hub.request("in time", { timeout: Infinity });
  assert.deepEqual(await connection.next(), { type: "request", id: 2, data: "in time" });
  connection.say({ type: "reply", id: 1, direct: 1, data: "nobody waits" });
  connection.say(Buffer.from('{"type":"reply","id":2,"direct":2}\nyes'));
  assert.equal(new TextDecoder().decode(await asked), "yes");
});

test("presence is grouped by user, and follows what is told", async (t) => {
  const { hub, events, next } = await meet(t);
  let connection = await next();
  await connection.greet({ presence: [member("a", 1), member("x"), member("b", 1), member("y")] });
  await event(hub, "presence");
  const shown = () => hub.presence.map(({ user, metas }) => [user, metas.map(({ client, state }) => `${client} ${state}`)]);
  assert.deepEqual(shown(), [
    [1, ["a online", "b online"]], [null, ["x online"]], [null, ["y online"]],
  ]);
  connection.say({ type: "presence", seq: 1, event: "joined", member: member("d", 2) });
  connection.say({ type: "presence", seq: 2, event: "lost", member: member("a", 1, { state: "lost" }) });
  connection.say({ type: "presence", seq: 3, event: "updated", member: member("x", null, { meta: { busy: true } }) });
  connection.say({ type: "presence", seq: 4, event: "left", member: member("y", null, { state: "gone" }) });
  await event(hub, "left");
  assert.deepEqual(shown(), [[1, ["a lost", "b online"]], [null, ["x online"]], [2, ["d online"]]]);
  assert.deepEqual(hub.presence[1].metas[0].meta, { busy: true });
  assert.deepEqual(named(events, "joined").map(({ client }) => client), ["d"]);
  assert.deepEqual(named(events, "left").map(({ state }) => state), ["gone"]);
  connection.socket.terminate();
  connection = await next();
  assert.equal((await connection.greet({ recovered: "yes", resumed: true, seq: 4, presence: [member("z")] })).seq, 4);
  await event(hub, "presence");
  assert.deepEqual(shown(), [[null, ["z online"]]]);
});

for (const [what, bad] of [
  ["no JSON", "{"],
  ["no object", "1"],
  ["null", "null"],
  ["no type", "{}"],
  ["an acknowledgement of nothing", { type: "ack" }],
  ["a number that is none", { type: "message", seq: "2", data: 1 }],
  ["a list of members that is none", { type: "hello", presence: {} }],
  ["a list with nobody in it", { type: "hello", client: "c1", epoch: "e1", seq: 0, direct: 0, recovered: "new", resumed: false,
    heartbeat: 25, grace: 15, token: "t1", presence: [null] }],
  ["presence of one without a name", { type: "presence", seq: 2, event: "joined", member: {} }],
  ["presence of nobody", { type: "presence", seq: 2, event: "joined", member: null }],
  ["bytes without a head", Buffer.from([255, 0])],
]) {
  test(`after a bad frame it asks again from the last good one: ${what}`, async (t) => {
    const { hub, next } = await meet(t);
    const connection = await next();
    await connection.greet();
    connection.say({ type: "message", seq: 1, data: 1 });
    await event(hub, "message");
    connection.say(bad);
    assert.equal((await connection.closed).code, 4408);
    assert.equal((await (await next()).greet()).seq, 1);
  });
}

test("a connection that is silent after a ping is given up", async (t) => {
  const { hub, next } = await meet(t);
  const connection = await next();
  await connection.greet({ heartbeat: 0.05 });
  for (let n = 0; n < 3; n++) {
    assert.deepEqual(await connection.next(), { type: "ping" });
    connection.say({ type: "pong" });
  }
  assert.equal(hub.state, "online");
  assert.deepEqual(await connection.closed, { code: 4408, reason: "nothing heard" });
  await (await next()).greet();
});

test("a server that never says hello is given up", async (t) => {
  const { next } = await meet(t, { patience: 0.05 });
  assert.deepEqual(await (await next()).closed, { code: 4408, reason: "no hello came" });
  await next();
});

test("a server of another protocol is not tried again", async (t) => {
  const { hub } = await meet(t, { WebSocket: class extends (await import("ws")).WebSocket {
    get protocol() { return ""; }
  } });
  assert.deepEqual(await state(hub, "closed"), { state: "closed", code: 4406, reason: "the server does not speak hub.v1" });
});

for (const code of [1001, 1011, 1012, 1013, 1014, 4008, 4408, 4429, 4430, 4433]) {
  test(`it returns after ${code}`, async (t) => {
    const { next } = await meet(t);
    const connection = await next();
    await connection.greet();
    connection.socket.close(code);
    assert.equal((await (await next()).greet()).token, "t1");
  });
}

for (const code of [1000, 1009, 4400, 4403, 4409, 4410, 4999]) {
  test(`it is closed after ${code}, with all that waits`, async (t) => {
    const { hub, next } = await meet(t);
    const sent = [assert.rejects(hub.send(1), HubClosed), assert.rejects(hub.request(1), { code, reason: "why" })];
    const connection = await next();
    await connection.greet();
    const closed = state(hub, "closed");
    connection.socket.close(code, "why");
    assert.deepEqual(await closed, { state: "closed", code, reason: "why" });
    await Promise.all(sent);
    await assert.rejects(hub.send(2), { name: "HubClosed", code, message: /closed with \d+: why/ });
  });
}

test("what `closing` says goes before what the code would mean", async (t) => {
  const { hub, next } = await meet(t);
  let connection = await next();
  await connection.greet();
  connection.say({ type: "closing", code: 4500, reason: "later", reconnect: true });
  connection.socket.close(4500);
  connection = await next();
  await connection.greet();
  const closed = state(hub, "closed");
  connection.say({ type: "closing", code: 1012, reason: "for good", reconnect: false });
  connection.socket.close(1012);
  assert.deepEqual(await closed, { state: "closed", code: 1012, reason: "for good" });
});

test("with a token that is not valid it comes as a new client, once", async (t) => {
  const { hub, next } = await meet(t);
  let connection = await next();
  await connection.greet({ seq: 5, direct: 6 });
  await state(hub, "online");
  const sent = hub.send("kept");
  connection.socket.close(4401);
  connection = await next();
  const said = await connection.greet({ recovered: "yes", seq: 5 });
  assert.deepEqual(withoutNonce(said), { type: "connect", epoch: "e1", seq: 5 });
  assert.deepEqual(await connection.next(), { type: "message", id: 1, data: "kept" });
  connection.say({ type: "ack", id: 1 });
  await sent;
});

test("refused without a token it does not come back", async (t) => {
  const { hub, next } = await meet(t);
  (await next()).socket.close(4401);
  assert.equal((await state(hub, "closed")).code, 4401);
});

test("the waits grow while connections do not last", async (t) => {
  t.mock.method(Math, "random", () => 1);
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const { hub, next } = await meet(t, { first: 0.02, most: 0.05 });
  const waits = [];
  for (let n = 0; n < 5; n++) {
    const connection = await next();
    await connection.greet();
    connection.socket.close(4429);
    const { until } = await state(hub, "waiting");
    waits.push(until - now);
    now = until;
  }
  assert.deepEqual(waits, [20, 20, 40, 50, 50]);
  // One that lasted counts as good again.
  const connection = await next();
  await connection.greet();
  await state(hub, "online");
  now += 51;
  connection.socket.close(4429);
  assert.equal((await state(hub, "waiting")).until, now + 20);
});

test("it waits no longer than it has been away, nor past the end of its grace", async (t) => {
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const random = t.mock.method(Math, "random", () => 0);
  const { hub, next } = await meet(t, { first: 0.01, most: 100 });
  let connection = await next();
  await connection.greet({ grace: 1 });
  await state(hub, "online");
  now = 1000;
  connection.socket.close(1012);
  // Lucky: after these its tries alone would let it wait for seconds.
  for (let n = 0; n < 12; n++) {
    await state(hub, "waiting");
    (await next()).socket.close(1012);
  }
  await state(hub, "waiting");
  random.mock.mockImplementation(() => 1);
  for (const [away, wait] of [[50, 50], [930, 70], [995, 10], [1500, 1500]]) {
    connection = await next();
    now = 1000 + away;
    connection.socket.close(1012);
    assert.equal((await state(hub, "waiting")).until, now + wait);
  }
});

test("a clock that is set back makes it neither hurry nor wait for ever", async (t) => {
  let now = 1e6;
  t.mock.method(Date, "now", () => now);
  t.mock.method(Math, "random", () => 1);
  const { hub, next } = await meet(t, { first: 0.01, most: 0.16 });
  const waits = [];
  for (let n = 0; n < 6; n++) {
    if (n === 1) now = 0;
    (await next()).socket.close(1012);
    const { until } = await state(hub, "waiting");
    waits.push(until - now);
    now += 1000;
  }
  assert.deepEqual(waits, [10, 10, 40, 80, 160, 160]);
});

test("where there is no room it takes its time", async (t) => {
  t.mock.method(Math, "random", () => 0);
  t.mock.method(Date, "now", () => 0);
  const { hub, events, next } = await meet(t, { first: 0.001, most: 0.08 });
  for (const code of [4429, 4431, 4432]) {
    (await next()).socket.close(code);
    await state(hub, "waiting");
  }
  const waits = named(events, "state").filter(({ state: now }) => now === "waiting");
  assert.deepEqual(waits.map(({ until, code }) => [until, code]), [[0, 4429], [10, 4431], [20, 4432]]);
});

test("where there is no room, who looks again makes no haste", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { seen } = open(t, "visible");
  const { hub, events, next } = await meet(t, { most: 0.8 });
  const connection = await next();
  connection.say({ type: "closing", code: 4433, reason: "the hub is full", reconnect: true });
  connection.socket.close(4433);
  const { until, code, reason } = await state(hub, "waiting");
  assert.deepEqual([code, reason], [4433, "the hub is full"]);
  for (let n = 0; n < 5; n++) seen();
  assert.equal(hub.state, "waiting");
  await (await next()).greet();
  assert.ok(Date.now() >= until - 1);
  assert.equal(named(events, "state").filter(({ state: now }) => now === "connecting").length, 1);
});

test("a line that is dead when somebody looks again is given up within five seconds", async (t) => {
  const { seen } = open(t, "visible");
  const { hub, next } = await meet(t);
  const connection = await next();
  await connection.greet();
  await state(hub, "online");
  t.mock.timers.enable({ apis: ["setTimeout"] });
  seen();
  assert.deepEqual(await connection.next(), { type: "ping" });
  const heard = event(hub, "message");
  connection.say({ data: "alive" });
  await heard;
  t.mock.timers.tick(5000);
  assert.equal(hub.state, "online");
  seen();
  t.mock.timers.tick(4000);
  seen(); // that is no new patience
  t.mock.timers.tick(999);
  assert.equal(hub.state, "online");
  t.mock.timers.tick(1);
  assert.equal(hub.state, "waiting");
  t.mock.timers.tick(50);
  await next();
});

test("a listener that fails does not hold up the others, and one taken off hears no more", async (t) => {
  const reported = t.mock.method(console, "error", () => {});
  const { hub, next } = await meet(t);
  const heard = [];
  const off = hub.on("message", () => heard.push("off"));
  hub.on("message", () => {
    throw new Error("mine");
  });
  hub.on("message", ({ data }) => heard.push(data));
  const connection = await next();
  await connection.greet();
  connection.say({ type: "message", seq: 1, data: 1 });
  await event(hub, "message");
  off();
  connection.say({ type: "message", seq: 2, data: 2 });
  await event(hub, "message");
  assert.deepEqual(heard, ["off", 1, 2]);
  assert.deepEqual(reported.mock.calls.map(({ arguments: [error] }) => error.message), ["mine", "mine"]);
  assert.throws(() => hub.on("open", () => {}), /no event "open"; there are message, joined/);
});

test("one that another listener takes off hears not even this one", async (t) => {
  const { hub, next } = await meet(t);
  const heard = [];
  hub.on("message", () => off());
  const off = hub.on("message", () => heard.push("off"));
  const connection = await next();
  await connection.greet();
  connection.say({ data: 1 });
  await event(hub, "message");
  assert.deepEqual(heard, []);
});

test("close() leaves at once and for good", async (t) => {
  const { hub, next } = await meet(t);
  const connection = await next();
  await connection.greet();
  await state(hub, "online");
  const sent = hub.send(1);
  hub.close();
  hub.close(4000, "twice");
  assert.equal(hub.state, "closed");
  await assert.rejects(sent, { name: "HubClosed", code: 1000, message: "the hub is closed with 1000; connect() makes a new one" });
  assert.equal((await connection.closed).code, 1000);
});

test("a listener that closes it hears nothing after that", async (t) => {
  const { hub, events, next } = await meet(t);
  const told = [];
  hub.on("state", ({ state: now }) => now === "online" && hub.close());
  hub.on("state", ({ state: now }) => told.push(now));
  const connection = await next();
  await connection.greet({ recovered: "no", presence: [member("a")] });
  await connection.closed;
  assert.deepEqual(events.map(([name, { state: now }]) => `${name} ${now}`), ["state online", "state closed"]);
  assert.deepEqual(told, ["closed"]);
});

test("where no socket can be made it is over at once, and nothing is left that tries", async () => {
  let made = 0;
  class WebSocket {
    constructor() {
      made += 1;
      throw new SyntaxError("not here");
    }
  }
  assert.throws(() => connect("ws://localhost/", { WebSocket, patience: 0.001, first: 0.001, most: 0.001 }), SyntaxError);
  const hub = connect("ws://localhost/", { WebSocket, ticket: () => "t", patience: 0.001, first: 0.001, most: 0.001 });
  assert.deepEqual(await state(hub, "closed"), { state: "closed", code: 1006, reason: "no socket can be made: not here" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(made, 2);
});

test("where no socket can be made any more it is over, and who waits is told", async (t) => {
  let made = 0;
  class Last extends WebSocket {
    constructor(...given) {
      if (++made > 1) throw new SyntaxError("no more");
      super(...given);
    }
  }
  const { hub, next } = await meet(t, { WebSocket: Last });
  const sent = assert.rejects(hub.send(1), HubClosed);
  (await next()).socket.terminate();
  assert.deepEqual(await state(hub, "closed"), { state: "closed", code: 1006, reason: "no socket can be made: no more" });
  await sent;
});

test("a number that can be none is refused at once, and undefined is the default", () => {
  const ticket = () => new Promise(() => {});
  for (const name of ["first", "most", "patience", "maxQueue", "maxQueueBytes"]) {
    for (const value of [0, -1, NaN, null, "soon"]) {
      assert.throws(() => connect("ws://localhost/", { WebSocket, ticket, [name]: value }), { message: `${name} is a number above 0; got ${value}` });
    }
    connect("ws://localhost/", { WebSocket, ticket, [name]: undefined }).close();
  }
});

test("a URL that can't be one is refused at once", () => {
  const ticket = () => assert.fail("no ticket is needed");
  assert.throws(() => connect("nowhere"), TypeError);
  assert.throws(() => connect("ftp://localhost/", { WebSocket: class {}, ticket }), /is ws\(s\) or http\(s\); got ftp:/);
  assert.throws(() => connect("ws://localhost/", { WebSocket: null, ticket }), /no WebSocket here/);
  assert.ok(new HubTimeout("x") instanceof HubError);
  assert.equal(connect.length, 2);
  assert.equal(typeof Hub, "function");
});

/** A page around the next hubs, until the test is over. */
function open(t, visibilityState) {
  const page = new EventTarget();
  page.visibilityState = visibilityState;
  const globals = {
    document: page,
    navigator: { onLine: true },
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
  };
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  t.after(() => before.forEach(([name, was]) => (was ? Object.defineProperty(globalThis, name, was) : delete globalThis[name])));
  const seen = () => {
    page.visibilityState = "visible";
    page.dispatchEvent(new Event("visibilitychange"));
  };
  return { page, seen };
}

test("hidden or offline it takes its time, and returns at once when it is looked at", async (t) => {
  t.mock.method(Math, "random", () => 0.9);
  const { page, seen } = open(t, "hidden");
  const { hub, next } = await meet(t, { most: 1000 });

  let waiting = state(hub, "waiting");
  let connection = await next();
  await connection.greet();
  connection.socket.terminate();
  assert.ok((await waiting).until > Date.now() + 800_000);
  page.dispatchEvent(new Event("online")); // nobody sees it: no hurry
  assert.equal(hub.state, "waiting");
  seen();
  connection = await next();
  await connection.greet();
  await state(hub, "online");

  seen();
  assert.deepEqual(await connection.next(), { type: "ping" });
  connection.say({ type: "pong" });

  globalThis.navigator.onLine = false;
  waiting = state(hub, "offline");
  connection.socket.terminate();
  assert.ok((await waiting).until > Date.now() + 800_000);
  page.dispatchEvent(new Event("online"));
  connection = await next();
  await connection.greet();
  await state(hub, "online");
  hub.close();
  seen();
  assert.equal(hub.state, "closed");
});
