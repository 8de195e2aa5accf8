"""Prometheus' metrics of this process, with ``DJANGO_HUB = {"METRICS": True}`` and the extra ``metrics``.

They are prometheus_client's own objects in its own registry: whatever exports that exports these. Counters
are brought up to date from `tallies` each beat and at each scrape of `django_hub.views.metrics`; the
histograms at once. So with ``PROMETHEUS_MULTIPROC_DIR`` they are those of all processes that have the same
directory, workers included: prometheus_client's custom collectors can't be (they are not written there).
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from django.core.exceptions import ImproperlyConfigured

_DIRECTORY = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if _DIRECTORY and not Path(_DIRECTORY).is_dir():
    raise ImproperlyConfigured(
        f"PROMETHEUS_MULTIPROC_DIR names no directory: {_DIRECTORY}. Make it, empty, before the servers "
        "and workers start; or leave the variable out where one process is all."
    )

from prometheus_client import (  # noqa: E402 (it reads that variable when it is imported)
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.metrics import MetricWrapperBase  # noqa: E402

from django_hub.relay import relays  # noqa: E402
from django_hub.stores.survey import HubSurvey  # noqa: E402
from django_hub.tallies import tallies  # noqa: E402

_Labels: TypeAlias = tuple[str, ...]
_Read: TypeAlias = Callable[[], Mapping[_Labels, int]]

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_SLOW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def _counter(name: str, text: str, read: _Read, *labels: str) -> tuple[Counter, _Read]:
    return Counter(f"django_hub_{name}", text, labels), read


def _one(name: str, text: str, attribute: str) -> tuple[Counter, _Read]:
    return _counter(name, text, lambda: {(): getattr(tallies, attribute)})


def _each(name: str, text: str, attribute: str, label: str) -> tuple[Counter, _Read]:
    def read() -> dict[_Labels, int]:
        return {(value,): count for value, count in dict(getattr(tallies, attribute)).items()}

    return _counter(name, text, read, label)


_COUNTERS = (
    _each("joins", "Clients that joined: new, resumed, or again (the store had lost it).", "joins", "kind"),
    _each("leaves", "Clients that left for good, by reason.", "leaves", "reason"),
    _one("lost", "Connections that broke of clients that may be back.", "lost"),
    _each(
        "returns",
        "Clients of hub.v1 that were welcomed; was what they missed there?",
        "returns",
        "recovered",
    ),
    _one("messages_received", "Clients' messages put into mailboxes.", "received"),
    _one("messages_received_bytes", "Their bytes.", "received_bytes"),
    _one("messages_sent", "Messages given to clients' sockets by the fan-out.", "written"),
    _one("messages_sent_bytes", "Their bytes, envelopes included, frame headers not.", "written_bytes"),
    _one("messages_dropped", "Messages a slow client did not get, for newer ones.", "dropped"),
    _one("slow_closes", "Clients closed for being too slow.", "slow"),
    _one("gaps", "Numbers that were late, for which the store was asked.", "gaps"),
    _one("history_reads", "Reads of a log for what was missing.", "history_reads"),
    _one("resyncs", "Holes that nothing could fill: clients were told.", "resyncs"),
    _each("broker_reconnects", "The broker is back, as its store or layer noticed.", "reconnects", "part"),
    _one("pump_restarts", "Nothing came from the channel layer any more; it was listened to anew.", "deaf"),
    _counter("events", "Events handed to their handler.", lambda: dict(tallies.events), "channel", "kind"),
    _counter(
        "handler_errors", "Events whose handler failed.", lambda: dict(tallies.failures), "channel", "kind"
    ),
    _one("dead_letters", "Events that became dead letters.", "dead_letters"),
)
_CLIENTS = Gauge("django_hub_clients", "Clients with a socket here.", multiprocess_mode="livesum")
_HUBS = Gauge("django_hub_hubs", "Hubs with clients here, once a process.", multiprocess_mode="livesum")
_LAG = Gauge(
    "django_hub_pump_lag_seconds",
    "How long the channel layer last took to bring what a process told itself; the longest of all.",
    multiprocess_mode="livemax",
)
_SILENCE = Gauge(
    "django_hub_pump_silence_seconds",
    "For how long nothing came while such an answer is due; the longest of all.",
    multiprocess_mode="livemax",
)
_WAITING_HUBS = Gauge(
    "django_hub_mailbox_hubs",
    "Hubs with events that wait, at the last scrape; at most 1000 are counted. NaN: the store did not say.",
    multiprocess_mode="livemostrecent",
)
_WAITING = Gauge(
    "django_hub_mailbox_events",
    "Events that wait in these hubs' mailboxes.",
    multiprocess_mode="livemostrecent",
)
_FULLEST = Gauge(
    "django_hub_mailbox_events_max",
    "Events that wait in the fullest of them.",
    multiprocess_mode="livemostrecent",
)
_OLDEST = Gauge(
    "django_hub_mailbox_oldest_seconds",
    "How long ago the oldest event that waits in them was posted; 0: none waits.",
    multiprocess_mode="livemostrecent",
)
_FANOUT = Histogram(
    "django_hub_fanout_seconds",
    "From the begin of a run of broadcasts to its last client's write.",
    buckets=_FAST,
)
_AGE = Histogram(
    "django_hub_event_age_seconds",
    "How old events are when their handler gets them.",
    ["channel", "kind"],
    buckets=_SLOW,
)
_HANDLER = Histogram(
    "django_hub_handler_seconds", "How long handlers took.", ["channel", "kind"], buckets=_SLOW
)

_lock = threading.Lock()
_told: dict[tuple[int, _Labels], int] = {}


def start() -> None:
    """From now on this process keeps its metrics."""
    if tallies.publish is None:
        atexit.register(publish)
    tallies.fanned_out = _FANOUT.observe
    tallies.handled = _handled
    tallies.publish = publish
    waiting(None)


def stop() -> None:
    """From now on none are kept; what is there stays."""
    atexit.unregister(publish)
    tallies.fanned_out = tallies.handled = tallies.publish = None


def publish() -> None:
    """Bring them up to date. From any thread."""
    with _lock:
        for place, (counter, read) in enumerate(_COUNTERS):
            for labels, now in read().items():
                before = _told.get((place, labels), 0)
                _told[place, labels] = now
                (counter.labels(*labels) if labels else counter).inc(now - before)
        here = relays()
        _CLIENTS.set(sum(relay.clients.online for relay in here))
        _HUBS.set(sum(len(relay.fanout) for relay in here))
        _LAG.set(max((relay.hearing.lag or 0.0 for relay in here), default=0.0))
        _SILENCE.set(max((relay.hearing.silence for relay in here), default=0.0))


def waiting(hubs: Sequence[HubSurvey] | None) -> None:
    """What waits in these hubs' mailboxes; None: that is not known, and 0 or what was known would be a lie
    to whoever looks because of it."""
    if hubs is None:
        for gauge in (_WAITING_HUBS, _WAITING, _FULLEST, _OLDEST):
            gauge.set(math.nan)
        return
    _WAITING_HUBS.set(sum(hub.mail > 0 for hub in hubs))
    _WAITING.set(sum(hub.mail for hub in hubs))
    _FULLEST.set(max((hub.mail for hub in hubs), default=0))
    _OLDEST.set(max((hub.lag or 0.0 for hub in hubs), default=0.0))


def exposition() -> bytes:
    """The metrics of this process, or with ``PROMETHEUS_MULTIPROC_DIR`` of all, in its text format."""
    publish()
    if not _DIRECTORY:
        return generate_latest(REGISTRY)
    # One that was killed leaves its gauges behind.
    for file in Path(_DIRECTORY).glob("gauge_live*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not _lives(int(pid)):
            # Another scrape may be removing it, too.
            with contextlib.suppress(FileNotFoundError):
                multiprocess.mark_process_dead(int(pid), _DIRECTORY)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, _DIRECTORY)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def described() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Type, help and labels of each metric, by its name."""
    mine: list[MetricWrapperBase] = [counter for counter, _ in _COUNTERS]
    mine += [_CLIENTS, _HUBS, _LAG, _SILENCE, _WAITING_HUBS, _WAITING, _FULLEST, _OLDEST]
    mine += [_FANOUT, _AGE, _HANDLER]
    found = {}
    for metric in mine:
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, family.documentation, tuple(metric._labelnames))  # noqa: SLF001
    return found


def _handled(channel: str, kind: str, waited: float, took: float) -> None:
    _AGE.labels(channel, kind).observe(waited)
    _HANDLER.labels(channel, kind).observe(took)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
