"""The process in which something is measured: prints it as JSON."""

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

import django

django.setup()

from benchmarks.inside import blocking, hubs, joins, looks, rechecks, relays  # noqa: E402

_MEASURED: dict[str, Callable[..., Any]] = {
    "joins": joins.joins,
    "hub_memory": hubs.hub_memory,
    "hub_broadcast": hubs.broadcast,
    "blocking_hub_broadcast": blocking.hub_broadcast,
    "blocking_group_send": blocking.group_send,
    "looks": looks.looks,
    "listing": looks.listing,
    "rechecks": rechecks.rechecks,
    "relays": relays.relays,
}

name, options = sys.argv[1], json.loads(sys.argv[2])
measured = _MEASURED[name](**options)
print(json.dumps(asyncio.run(measured) if inspect.iscoroutine(measured) else measured))
