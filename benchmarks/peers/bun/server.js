// A topic: what a client says goes to all who subscribed to it.
const [hostname, port] = process.argv.slice(2);

const server = Bun.serve({
  hostname,
  port: Number(port),
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("not a websocket", { status: 400 });
  },
  websocket: {
    open(socket) {
      socket.subscribe("h");
    },
    message(_, text) {
      server.publish("h", text);
    },
  },
});
