"""A room: what a client says goes to all in it."""

from __future__ import annotations

from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi")
application = socketio.ASGIApp(server)


@server.event  # type: ignore[untyped-decorator]
async def connect(sid: str, environ: dict[str, Any]) -> None:  # noqa: ARG001
    await server.enter_room(sid, "h")


@server.event  # type: ignore[untyped-decorator]
async def say(sid: str, text: str) -> None:  # noqa: ARG001
    await server.emit("said", text, room="h")
