// How an application in TypeScript uses hub.d.ts. Only its types are checked (tsc); it is never run.

import { WebSocket as SocketOfNode } from "ws";

import { connect, Hub, HubClosed, HubError, HubQueueFull, HubTimeout } from "../../django_hub/static/django_hub/hub.js";

const hub: Hub = connect("/ws/room/", { first: 0.5, most: 30, maxQueue: 10, maxQueueBytes: 1000, patience: 5, WebSocket });
connect(new URL("wss://example.org/ws/room/"), { WebSocket: SocketOfNode, most: undefined });

const off: () => void = hub.on("message", ({ data, seq, direct }) => [data.text, seq?.toFixed(), direct?.toFixed()]);
off();
hub.on("joined", (member) => member.client.length);
hub.on("left", (member) => member.state === "gone");
hub.on("presence", (groups) => groups.flatMap(({ user, metas }) => metas.map((member) => [user, member.meta.name])));
hub.on("state", (event) => {
  if (event.state === "closed") return [event.code.toFixed(), event.reason.length];
  if (event.state === "waiting" || event.state === "offline") return [new Date(event.until), event.code.toFixed(), event.reason];
  // @ts-expect-error: no code while it is online
  return event.code;
});
hub.on("resync", ({ reason }) => reason.length);
// @ts-expect-error: no such event
hub.on("closed", () => {});

await hub.send({ text: "hello" });
await hub.send(new Uint8Array([1, 2]));
const answer = await hub.request("question", { timeout: 5 });
answer.anything;
hub.presence.length + (hub.client?.length ?? 0) + hub.state.length;
hub.close(1000, "done");

const errors: HubError[] = [new HubTimeout(), new HubQueueFull(), new HubClosed(4403, "members only")];
errors.forEach((error) => error instanceof HubClosed && error.code.toFixed());
