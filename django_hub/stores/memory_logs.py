"""The logs of the memory store: numbered items of hubs, and of members."""

from __future__ import annotations

import math
import secrets
from collections import deque
from itertools import islice, takewhile

from django_hub.limits import Limits
from django_hub.stores.ops import History, Number, Publication

# Logs looked at when one begins: more than one, so that those that are over can't gather.
_LOOKED_AT = 2


class _Log:
    """``items`` are the newest, each with its id: the last one's number is ``seq``."""

    __slots__ = ("epoch", "items", "items_until", "key", "seq", "until")

    def __init__(self, key: tuple[str, str], epoch: str) -> None:
        self.key = key
        self.epoch = epoch
        self.seq = 0
        self.items: deque[tuple[str, str]] | None = None
        self.items_until = 0.0
        self.until = math.inf

    def number_of(self, name: str) -> int | None:
        if self.items:
            for back, (each, _) in enumerate(reversed(self.items)):
                if each == name:
                    return self.seq - back
        return None

    def above(self, after: int) -> tuple[tuple[int, str], ...]:
        items = self.items or ()
        first = self.seq - len(items) + 1
        wanted = islice(items, max(0, after + 1 - first), None)
        return tuple((number, item) for number, (_, item) in enumerate(wanted, max(first, after + 1)))


class Logs:
    """See `Store.publish`. The caller holds the store's lock, and tells the time and what a hub keeps.

    A hub that is never published to, nor asked for, has nothing here.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # By hub and member; the hub's own has no member.
        self._logs: dict[tuple[str, str], _Log] = {}
        # All logs, those that are over too, in the order in which they are looked at.
        self._round: deque[_Log] = deque()
        # By hub: when the own logs of its members were last published to, in that order.
        self._told: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._logs)

    def publish(self, publication: Publication, size: int, ttl: float, now: float) -> Number:
        hub = self._hub(publication.hub, ttl, now)
        log = self._own(publication.hub, publication.client_id, now) if publication.client_id else hub
        self._drop_old_items(log, now)
        known = log.number_of(publication.id) if publication.again else None
        if known is not None:
            return Number(hub.epoch, known)
        log.seq += 1
        if publication.client_id:
            told = self._told.setdefault(publication.hub, {})
            last = max(int(now * 1_000_000), self._last_told(publication.hub) + 1)
            told.pop(publication.client_id, None)
            told[publication.client_id] = last
        if size <= 0 or ttl <= 0:
            log.items = None
        else:
            if log.items is None or log.items.maxlen != size:
                log.items = deque(log.items or (), maxlen=size)
            log.items.append((publication.id, publication.item))
            log.items_until = now + ttl
        return Number(hub.epoch, log.seq)

    def history(self, hub: str, client_id: str, after: int, ttl: float, now: float) -> History:
        """``client_id`` ``""``: of the hub."""
        whole = self._hub(hub, ttl, now)
        if not client_id and after > whole.seq:
            del self._logs[hub, ""]
            whole = self._hub(hub, ttl, now)
        epoch = whole.epoch
        log = self._logs.get((hub, client_id))
        if log is None:
            return History(epoch, 0)
        self._drop_old_items(log, now)
        return History(epoch, log.seq, log.above(after))

    def peek(self, hub: str, now: float) -> Number:
        """Its position, without keeping it."""
        log = self._logs.get((hub, ""))
        return Number("", 0) if log is None or log.until <= now else Number(log.epoch, log.seq)

    def position(self, hub: str, ttl: float, now: float) -> Number | None:
        log = self._logs.get((hub, ""))
        if log is None or log.until <= now:
            return None
        log.until = now + self._limits.log_ttl(ttl)
        return Number(log.epoch, log.seq, told=self._last_told(hub))

    def told(self, hub: str, since: int) -> dict[str, int]:
        """See `Store.told`; by client id."""
        recent = reversed(self._told.get(hub, {}).items())
        return {
            client_id: self._logs[hub, client_id].seq
            for client_id, _ in takewhile(lambda each: each[1] > since, recent)
        }

    def _last_told(self, hub: str) -> int:
        told = self._told.get(hub)
        return told[next(reversed(told))] if told else 0

    def seq(self, hub: str, now: float) -> int:
        """How far it has come, without a sign of use."""
        log = self._logs.get((hub, ""))
        return 0 if log is None or log.until <= now else log.seq

    def forget(self, hub: str, client_id: str) -> None:
        """The member is gone, and its log with it."""
        if self._logs.pop((hub, client_id), None) is not None and (told := self._told.get(hub)):
            told.pop(client_id, None)
            if not told:
                del self._told[hub]

    def sweep(self, most: int, now: float) -> None:
        """Let go of what is over, among the next ``most`` logs."""
        for _ in range(min(most, len(self._round))):
            log = self._round.popleft()
            if self._logs.get(log.key) is not log:
                continue
            if log.until <= now:
                del self._logs[log.key]
                continue
            self._drop_old_items(log, now)
            self._round.append(log)

    def _hub(self, name: str, ttl: float, now: float) -> _Log:
        log = self._logs.get((name, ""))
        if log is None or log.until <= now:
            log = self._begin((name, ""), secrets.token_hex(8), now)
        log.until = now + self._limits.log_ttl(ttl)
        return log

    def _own(self, hub: str, client_id: str, now: float) -> _Log:
        # Its epoch is that of the hub, whatever becomes of that; it is there as long as its member.
        return self._logs.get((hub, client_id)) or self._begin((hub, client_id), "", now)

    def _begin(self, key: tuple[str, str], epoch: str, now: float) -> _Log:
        self.sweep(_LOOKED_AT, now)
        log = self._logs[key] = _Log(key, epoch)
        self._round.append(log)
        return log

    @staticmethod
    def _drop_old_items(log: _Log, now: float) -> None:
        if log.items is not None and log.items_until <= now:
            log.items = None
