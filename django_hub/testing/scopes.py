"""The scope of a websocket, as a server makes it of a browser's handshake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote


def websocket_scope(
    path: str, subprotocols: Sequence[str], headers: Mapping[str, str] | None, client: Any
) -> dict[str, Any]:
    all_headers = {"host": "testserver", "origin": "http://testserver"}
    if client is not None:
        cookies = (f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        all_headers["cookie"] = "; ".join(cookies)
    all_headers |= {name.lower(): value for name, value in (headers or {}).items()}
    place, _, query = path.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(place),
        "raw_path": place.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
        "subprotocols": list(subprotocols),
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "extensions": {},
    }
