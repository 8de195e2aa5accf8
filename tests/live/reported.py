"""The site of `tests.live.talks`, with a library that wraps the handler of SIGTERM at a message."""

from __future__ import annotations

import signal
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from tests.live.talks import TalkConsumer, logger


def wrap_sigterm() -> None:
    before: Any = signal.getsignal(signal.SIGTERM)

    def report(number: int, frame: Any) -> None:
        logger.info("reported %s", number)
        before(number, frame)

    signal.signal(signal.SIGTERM, report)


class ReportedConsumer(TalkConsumer):
    async def on_message(self, data: str | bytes) -> None:
        wrap_sigterm()
        await super().on_message(data)


application = ProtocolTypeRouter({"websocket": URLRouter([path("ws/<hub>/", ReportedConsumer.as_asgi())])})
