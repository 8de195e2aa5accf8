"""Where a socket comes from: the address its connections are counted by."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

# What a proxy in front of us would have left. Who adds one by hand is not counted by its address where the
# project says nothing of proxies; the other way round, all clients of a site behind one were one client.
_TRACES = frozenset({b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip", b"cf-connecting-ip"})

# Of an IPv6 address, the part that a provider gives to one customer.
_CUSTOMER = 64


def address_of(scope: Mapping[str, Any], proxies: int | None) -> str:
    """The address a socket is counted by: an IPv4 address, or the /64 of an IPv6 one; ``""``: none.

    ``proxies``: how many stand in front of the server, each of which adds to ``X-Forwarded-For`` whom it
    was called by. The entry that the outermost of them added is taken, counted from the right, for
    what stands left of it is the client's own say. Where the header has fewer entries somebody came past a
    proxy, and who called the server is counted.

    None: nobody said. Then only a client is counted that called the server from a public address, in a
    request that no proxy seems to have passed on.
    """
    peer = _parsed(str((scope.get("client") or ("",))[0]))
    headers: Iterable[tuple[bytes, bytes]] = scope.get("headers") or ()
    if proxies is None:
        passed_on = any(name in _TRACES for name, _ in headers)
        return _text(peer) if peer is not None and peer.is_global and not passed_on else ""
    if proxies:
        said = b",".join(value for name, value in headers if name == b"x-forwarded-for").split(b",")
        if len(said) >= proxies:
            peer = _parsed(said[-proxies].decode("latin-1").strip()) or peer
    return _text(peer) if peer is not None else ""


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _parsed(text: str) -> _Address | None:
    """An address, which may have a port, brackets, or a zone."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _text(address: _Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _CUSTOMER), strict=False))
