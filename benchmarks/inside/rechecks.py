"""How long it takes until all sockets of a group are closed that lost its permission."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection

from benchmarks.generator import Measured
from django_hub import HubConsumer
from django_hub.relay import get_relay

_AT_ONCE = 200


class _Readers(HubConsumer):
    events = "hub-fan"
    permission_required = "auth.view_group"


class _Socket:
    """A client that answers to its close, and does nothing else."""

    def __init__(self, user: Any, number: int) -> None:
        kwargs = {"hub": f"h{number % 100}"}
        self.scope = {"type": "websocket", "user": user, "url_route": {"kwargs": kwargs}}
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.code = 0

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            self.code = message["code"]
            self.inbox.put_nowait({"type": "websocket.disconnect", "code": self.code})


def _members(count: int) -> tuple[Group, list[User]]:
    call_command("migrate", verbosity=0)
    group = Group.objects.create(name="readers")
    group.permissions.add(Permission.objects.get(codename="view_group"))
    User.objects.bulk_create(User(username=f"u{number}", password="!") for number in range(count))
    users = list(User.objects.all())
    group.user_set.add(*users)
    return group, users


async def rechecks(sockets: int) -> Measured:
    """Each of a user of its own."""
    clock = time.perf_counter
    queries: list[str] = []

    def count(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    group, users = await database_sync_to_async(_members)(sockets)
    opened = [_Socket(user, number) for number, user in enumerate(users)]
    serving = []
    relay = get_relay()
    for start in range(0, sockets, _AT_ONCE):
        for socket in opened[start : start + _AT_ONCE]:
            application = _Readers.as_asgi()
            serving.append(asyncio.create_task(application(socket.scope, socket.inbox.get, socket.send)))
        while sum(1 for _ in relay.fanout) < start + _AT_ONCE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def revoke() -> tuple[float, float]:
        group.permissions.clear()
        connection.execute_wrappers.append(count)
        return clock(), time.process_time()

    began, used = await database_sync_to_async(revoke)()
    while not all(socket.code for socket in opened):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    took, used = clock() - began, time.process_time() - used
    if {socket.code for socket in opened} != {4403}:
        raise RuntimeError("Some were closed for another reason")
    await asyncio.wait(serving)
    return {"seconds": took, "cpu": used, "queries": len(queries)}
