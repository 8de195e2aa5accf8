"""manage.py hubs: what there is to see of hubs, and to do, in a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import AsyncIterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from django_hub import operations
from django_hub.exceptions import HubError
from django_hub.layers.choice import get_layer
from django_hub.logs import printable
from django_hub.names import require_client_id, require_hub_name
from django_hub.questions import Questions
from django_hub.relay import get_relay
from django_hub.sights import Sight, Viewer, dead_letter, handled
from django_hub.stores.registry import get_store
from django_hub.stores.survey import HubSurvey

_EVERY = 0.5
_PAGE = 500


class Command(BaseCommand):
    help = "Shows hubs, their members, events and dead letters; sends to them, and kicks."
    leave_locale_alone = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="command")

        def add(name: str, help_: str, *, hub: bool = True) -> ArgumentParser:
            sub = commands.add_parser(name, help=help_)
            sub.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
            if hub:
                sub.add_argument("hub")
            return sub

        sub = add("list", "all hubs, in the order of their names", hub=False)
        sub.add_argument("--begins", default="", help="only those whose name begins so")
        sub.add_argument("--most", type=_most, default=100, help="so many at most; 0: all (default: 100)")
        add("members", "who is in a hub").add_argument("--most", type=_most, default=1000, help="0: all")
        sub = add("send", "send to one client")
        sub.add_argument("client")
        sub.add_argument("text")
        sub.add_argument("--as-json", action="store_true", help="the text is JSON, and sent as such")
        sub = add("broadcast", "send to all clients of a hub")
        sub.add_argument("text")
        sub.add_argument("--as-json", action="store_true", help="the text is JSON, and sent as such")
        sub = add("kick", "close a client's socket with 4403")
        sub.add_argument("client")
        sub.add_argument("--reason", default="kicked")
        sub = add("tail", "the hub's events, as they are handled, until Ctrl-C")
        sub.add_argument("--most", type=_most, default=0, help="end after so many")
        sub = add("dead-letters", "events whose handler failed")
        doing = sub.add_mutually_exclusive_group()
        doing.add_argument("--retry", action="store_true", help="put them back at the mailbox's end")
        doing.add_argument("--drop", action="store_true", help="drop them")
        sub.add_argument("--position", type=int, action="append", help="only this one; may be repeated")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            if get_layer().in_memory:
                raise CommandError(
                    "The in-memory channel layer and its store are within the server's own process: "
                    "another one, as this, can't see its hubs. Look at them in the admin, whose page is in "
                    "the server; or set CHANNEL_LAYERS to channels_redis."
                )
            asyncio.run(self._run(options))
            # Here, where it may fail, and not by Python at its end.
            self.stdout.flush()
        except (HubError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:
            # Who reads has enough (`| head`). Of a broker there is none: that is `Unavailable`. What is
            # still to be written Python writes at its end, and would complain, too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
        except KeyboardInterrupt:
            # It is how a tail ends. Of anything else it may be that it was done, or only in part.
            if options["command"] != "tail":
                raise CommandError("Interrupted.", returncode=130) from None

    async def _run(self, options: dict[str, Any]) -> None:
        if "hub" in options:
            require_hub_name(options["hub"])
        if "client" in options:
            require_client_id(options["client"])
        if options.get("begins"):
            require_hub_name(options["begins"])
        try:
            await getattr(self, f"_{options['command'].replace('-', '_')}")(options)
        finally:
            await get_relay().idle()
            await get_store().close()

    def _say(self, options: dict[str, Any], record: dict[str, Any], line: str) -> None:
        # JSON in ASCII: nothing in it is anything to a terminal.
        self.stdout.write(json.dumps(record) if options["json"] else line)

    async def _list(self, options: dict[str, Any]) -> None:
        left = options["most"] or None
        async for state in _states(options["begins"], left):
            name = state.name
            record = {
                "hub": name,
                "members": state.members,
                "mail": state.mail,
                "lag": state.lag,
                "dead_letters": state.dead_letters,
                "events": state.events,
                "error": state.error,
            }
            lag = "" if state.lag is None else f", the oldest for {state.lag:.1f} s"
            line = (
                f"{printable(name)}: {state.members} members, {state.mail} events wait{lag}, "
                f"{state.dead_letters} dead letters"
            )
            if state.error:
                line = f"{printable(name)}: {state.error}"
            self._say(options, record, line)
            if left is not None:
                left -= 1
                if not left:
                    if not options["json"]:
                        self.stderr.write(f"There may be more than {options['most']}: see --most.")
                    return

    async def _members(self, options: dict[str, Any]) -> None:
        hub, after, count = options["hub"], "", 0
        async with Questions(get_layer()) as questions:
            viewer = Viewer(get_store(), questions)
            while True:
                picture = await viewer.see(Sight(hub=hub, after=after))
                if error := picture["state"]["error"]:
                    raise CommandError(error)
                for member in picture["members"]:
                    self._say(options, member, _line(member))
                    count += 1
                    if count == options["most"]:
                        return
                after = picture["next"]
                if not after:
                    break
        if not count and not options["json"]:
            self.stderr.write("Nobody is there.")

    async def _send(self, options: dict[str, Any]) -> None:
        sent = await operations.send(
            options["hub"], options["client"], options["text"], as_json=options["as_json"]
        )
        self._done(options, sent, "Sent.", "There is no such client. Who is: manage.py hubs members HUB")

    async def _broadcast(self, options: dict[str, Any]) -> None:
        sent = await operations.broadcast(options["hub"], options["text"], as_json=options["as_json"])
        self._done(
            options, sent, "Broadcast.", "There is no such hub. Those there are: manage.py hubs list"
        )

    async def _kick(self, options: dict[str, Any]) -> None:
        kicked = await operations.kick(options["hub"], options["client"], options["reason"])
        self._done(
            options, kicked, "Kicked.", "There is no such client. Who is: manage.py hubs members HUB"
        )

    async def _tail(self, options: dict[str, Any]) -> None:
        hub, count = options["hub"], 0
        position = (await get_store().tail(hub, None)).position
        while True:
            tail = await get_store().tail(hub, position)
            position = tail.position
            if tail.missed:
                self.stderr.write("(more happened than can be shown)")
            for item in tail.items:
                record = handled(hub, item)
                failed = " FAILED" if record["failed"] else ""
                line = f"{_clock(record['at'])}{failed} {record['kind']} {printable(record['client'])}"
                self._say(options, record, f"{line} {printable(record['text'])}".rstrip())
                count += 1
                if count == options["most"]:
                    return
            self.stdout.flush()
            await asyncio.sleep(_EVERY)

    async def _dead_letters(self, options: dict[str, Any]) -> None:
        hub, positions = options["hub"], options["position"]
        if options["retry"] or options["drop"]:
            count = await (operations.retry if options["retry"] else operations.drop)(hub, positions)
            done = "put back into the mailbox" if options["retry"] else "dropped"
            why = "No such dead letters" + (
                "; or the hub is gone: wait for a client." if count == 0 else ""
            )
            self._done(options, bool(count), f"{count} {done}.", why)
            return
        for letter in await get_store().dead_letters(hub):
            if positions is None or letter.position in positions:
                record = dead_letter(letter)
                what = (
                    f"{record['kind']} {printable(record['client'])} {printable(record['text'])}".rstrip()
                )
                line = f"{record['position']} {_clock(record['at'])} {what}"
                self._say(options, record, f"{line}: {printable(record['error'])}")

    def _done(self, options: dict[str, Any], ok: bool, text: str, why: str) -> None:
        if not ok:
            raise CommandError(why)
        self._say(options, {"ok": True}, text)


async def _states(begins: str, most: int | None) -> AsyncIterator[HubSurvey]:
    """A page of hubs in one question: there may be a hundred thousand."""
    store = get_store()
    page = min(most or _PAGE, _PAGE)
    if begins and await store.hub(begins):
        for state in await store.survey([begins]):
            yield state
    after = begins
    while states := await store.survey_page(after, page):
        for state in states:
            if not state.name.startswith(begins):
                return
            yield state
        after = states[-1].name


def _most(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise ArgumentTypeError(f"a number from 0 on; got {text!r:.80}")


def _line(member: dict[str, Any]) -> str:
    user = "" if member["user"] is None else f" user {printable(member['user'])}"
    where = f" from {printable(member['address'])}" if member["address"] else ""
    waits = f", {member['queue']} messages ({member['bytes']} bytes) wait" if member["queue"] else ""
    state = f"{member['state']}, since {_clock(member['since'])}{waits}"
    return f"{printable(member['client'])}{user}{where}: {state}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
