// A room: what a client says goes to all in it.
const http = require("node:http");
const { Server } = require("socket.io");

const [host, port] = process.argv.slice(2);
const server = http.createServer();
const io = new Server(server);

// Socket.IO's page on memory: the first HTTP request is kept with each connection otherwise.
io.engine.on("connection", (socket) => {
  socket.request = null;
});

io.on("connection", (socket) => {
  socket.join("h");
  socket.on("say", (text) => io.to("h").emit("said", text));
});

server.listen(Number(port), host);
