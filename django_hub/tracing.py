"""OpenTelemetry's spans, with ``DJANGO_HUB = {"TRACING": True}`` and the extra ``otel``.

Only its API is needed; what becomes of the spans is what the project's SDK makes of them. Names and
attributes are those of OpenTelemetry's conventions for messaging: the destination is the events channel
for what goes into a mailbox, and ``hub`` for what goes to clients, so that names are few. A hub's name
stands in the attribute ``django_hub.hub``; what was said in none, nor the text of an exception, which
often has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_hub import spans
from django_hub.events import Event, Message
from django_hub.tallies import size

_Span: TypeAlias = AbstractContextManager[Span]

# Not the project's own propagator: what is in a mailbox must be read by every process of the site.
_W3C = TraceContextTextMapPropagator()
_PARENT = "traceparent"


class Tracing:
    """A `spans.Tracer`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def receiving(self, hub: str, data: str | bytes) -> _Span:
        attributes = {"messaging.message.body.size": size(data)}
        return self._span("receive", "hub", "receive", SpanKind.SERVER, hub, attributes)

    def posting(self, hub: str, channel: str, data: str | bytes) -> _Span:
        attributes = {"messaging.message.body.size": size(data)}
        return self._span("post", channel, "send", SpanKind.PRODUCER, hub, attributes)

    def handling(self, channel: str, kind: str, event: Event) -> _Span:
        carrier = {_PARENT: event.trace} if isinstance(event, Message) and event.trace else {}
        attributes = {"messaging.message.id": str(event.id), "django_hub.event": kind}
        return self._span("handle", channel, "process", SpanKind.CONSUMER, event.hub, attributes, carrier)

    def sending(self, operation: str, hub: str) -> _Span:
        return self._span(operation, "hub", "send", SpanKind.PRODUCER, hub, {})

    def parent(self) -> str:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_PARENT, "")

    @contextmanager
    def _span(
        self,
        operation: str,
        destination: str,
        kind: str,
        span_kind: SpanKind,
        hub: str,
        attributes: Mapping[str, str | int],
        carrier: Mapping[str, str] | None = None,
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            f"{operation} {destination}",
            context=None if carrier is None else _W3C.extract(carrier),
            kind=span_kind,
            record_exception=False,
            set_status_on_exception=False,
            attributes={
                "messaging.system": "django_hub",
                "messaging.operation.name": operation,
                "messaging.operation.type": kind,
                "messaging.destination.name": destination,
                "django_hub.hub": hub,
                **attributes,
            },
        ) as span:
            try:
                yield span
            except Exception as error:
                span.set_status(StatusCode.ERROR)
                span.set_attribute("error.type", type(error).__qualname__)
                raise


def start() -> None:
    """From now on this process traces. Again, it is with the provider that is set now."""
    spans.tracer = Tracing(trace.get_tracer("django_hub"))
