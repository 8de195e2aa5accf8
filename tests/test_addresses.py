"""The address a socket is counted by."""

import pytest

from django_hub.addresses import address_of


def scope(client="203.0.113.7", forwarded=(), **more):
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": (client, 4711) if client else None, "headers": headers, **more}


PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("client", "forwarded", "proxies", "address"),
    [
        # Nobody said: only what can't be a proxy.
        (PUBLIC, [], None, PUBLIC),
        ("127.0.0.1", [], None, ""),
        ("10.0.0.7", [], None, ""),
        ("", [], None, ""),
        (PUBLIC, ["1.2.3.4"], None, ""),
        # None is there.
        ("127.0.0.1", [], 0, "127.0.0.1"),
        (PUBLIC, ["1.2.3.4"], 0, PUBLIC),
        ("not an address", [], 0, ""),
        # One, and what the client made up before it.
        ("127.0.0.1", [PUBLIC], 1, PUBLIC),
        ("", [f"1.2.3.4, {PUBLIC}"], 1, PUBLIC),
        ("127.0.0.1", ["1.2.3.4", PUBLIC], 1, PUBLIC),
        ("127.0.0.1", [f"{PUBLIC}:8080"], 1, PUBLIC),
        ("127.0.0.1", [f"1.2.3.4, {PUBLIC}, 10.0.0.1"], 2, PUBLIC),
        # Past a proxy, or nonsense: who called.
        ("10.0.0.7", [], 1, "10.0.0.7"),
        ("10.0.0.7", [PUBLIC], 2, "10.0.0.7"),
        ("10.0.0.7", ["1.2.3.4, unknown"], 1, "10.0.0.7"),
        ("10.0.0.7", ["\r\nforged \xff"], 1, "10.0.0.7"),
        ("", ["<script>"], 1, ""),
        # Whoever has an IPv6 address has 2^64 of them.
        ("2a00:1450:4001:82a:1:2:3:4", [], 0, "2a00:1450:4001:82a::/64"),
        ("::", ["[2a00:1450:4001:82a::200e]:443"], 1, "2a00:1450:4001:82a::/64"),
        ("fe80::1%eth0", [], 0, "fe80::/64"),
        (f"::ffff:{PUBLIC}", [], 0, PUBLIC),
    ],
)
def test_the_address_is(client, forwarded, proxies, address):
    assert address_of(scope(client, forwarded), proxies) == address


@pytest.mark.parametrize("header", [b"via", b"forwarded", b"x-real-ip"])
def test_other_traces_of_a_proxy(header):
    assert address_of({"client": (PUBLIC, 1), "headers": [(header, b"x")]}, None) == ""


def test_a_scope_without_anything():
    assert address_of({}, None) == address_of({}, 0) == address_of({}, 2) == ""
