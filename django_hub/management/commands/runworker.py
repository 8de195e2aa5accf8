"""manage.py runworker: survives what the broker and the handlers do, and ends in order."""

from __future__ import annotations

import asyncio
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from channels.routing import get_default_application
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.autoreload import run_with_reloader

from django_hub.conf import get_settings
from django_hub.endings import end
from django_hub.layers.base import Layer
from django_hub.layers.choice import get_layer
from django_hub.listener import listen
from django_hub.logs import get_logger
from django_hub.relay import get_relay
from django_hub.stores.registry import get_store
from django_hub.workers import HubEvents

logger = get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Handles the events of hubs, and other messages to the given channels, until SIGTERM or SIGINT; "
        "then finishes what is in hand and gives the rest back to other workers."
    )
    leave_locale_alone = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "channels",
            nargs="*",
            help="Channels to listen on. None: all that the application routes to a HubEvents.",
        )
        parser.add_argument("--layer", help="Channel layer alias; the default is DJANGO_HUB['LAYER'].")
        parser.add_argument(
            "--grace",
            type=float,
            help="Seconds that handlers may take to finish when it is stopped. Default: SHUTDOWN_GRACE.",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="For development: start anew when code changes, without finishing what is in hand.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        if options["reload"]:
            run_with_reloader(self._run, **options)
        else:
            self._run(**options)

    def _run(self, **options: Any) -> None:
        try:
            settings = get_settings()
            layer = get_layer()
            channels = options["channels"] or hub_channels(get_default_application())
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if options["layer"] not in (None, settings.LAYER):
            raise CommandError(
                f"Hubs use the channel layer {settings.LAYER!r}: to work on {options['layer']!r}, set "
                "DJANGO_HUB['LAYER'] to it, for servers and workers alike."
            )
        if layer.in_memory:
            raise CommandError(
                "The in-memory channel layer reaches its own process only, so a worker would get nothing. "
                "Set CHANNEL_LAYERS to channels_redis; or run no worker: the server does its work."
            )
        if not channels:
            raise CommandError(
                "The application routes no channel to a HubEvents. In asgi.py: ProtocolTypeRouter({..., "
                '"channel": ChannelNameRouter({"my-events": MyEvents.as_asgi()})}); or name the channels.'
            )
        grace = settings.SHUTDOWN_GRACE if options["grace"] is None else options["grace"]
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._work(layer, channels, grace))

    async def _work(self, layer: Layer, channels: list[str], grace: float) -> None:
        """Listen on the channels until SIGTERM or SIGINT, then end in order."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Where it is reloaded it runs beside the main thread, whose own handlers end the process at once.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
        # Not before: from here on it can be told to stop.
        self.stdout.write(f"Running worker for channels {', '.join(channels)}")
        listeners = [asyncio.create_task(listen(layer, channel, grace=grace)) for channel in channels]
        await stop.wait()
        logger.info("Stopping: finishing what is in hand")
        await end(listeners, grace + 2)
        try:
            async with asyncio.timeout(grace + 1):
                await get_relay().idle()
                await get_store().close()
        except TimeoutError:
            # What is not committed is handled again, and its answers sent, by another worker.
            logger.warning("The broker does not answer: what was still to be sent is not")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, as uvicorn does it."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def hub_channels(application: Any) -> list[str]:
    """The channels that an application routes to a `HubEvents`, behind any middleware."""
    if isinstance(mapping := getattr(application, "application_mapping", None), dict):
        if "channel" in mapping:
            return hub_channels(mapping["channel"])
        return [
            name
            for name, routed in mapping.items()
            if isinstance(kind := getattr(routed, "consumer_class", None), type)
            and issubclass(kind, HubEvents)
        ]
    for name in ("inner", "application", "app"):
        if (wrapped := getattr(application, name, None)) is not None:
            return hub_channels(wrapped)
    return []
