"""One trace, from a client's message to what its handler sends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from django_hub import spans
from django_hub.events import message_body, read_body
from django_hub.tracing import Tracing
from tests.apps import EVENTS, World
from tests.apps import world as world
from tests.sockets import until

WHO = '"ann",null,{},false'


@pytest.fixture
def traced() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans.tracer = Tracing(provider.get_tracer("django_hub"))
    yield exporter
    spans.tracer = None
    provider.shutdown()


async def test_a_message_its_handler_and_the_answer_are_one_trace(
    world: World, traced: InMemorySpanExporter
) -> None:
    ann = await world.join("ann")
    await world.settled()
    traced.clear()
    ann.send_nowait("echo")
    await until(lambda: any(told[0] == "message" for told in world.told()))
    await world.settled()
    found = {span.name: span for span in traced.get_finished_spans()}
    received, posted = found["receive hub"], found[f"post {EVENTS}"]
    handled = found[f"handle {EVENTS}"]
    assert posted.parent.span_id == received.context.span_id
    assert handled.parent.span_id == posted.context.span_id
    assert handled.parent.is_remote
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert [received.kind, posted.kind, handled.kind] == [
        SpanKind.SERVER,
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
    ]
    assert dict(posted.attributes) == {
        "messaging.system": "django_hub",
        "messaging.operation.name": "post",
        "messaging.operation.type": "send",
        "messaging.destination.name": EVENTS,
        "messaging.message.body.size": 4,
        "django_hub.hub": "lobby",
    }


@pytest.mark.parametrize("operation", ["broadcast", "send", "reply"])
def test_what_is_sent_is_a_span_of_its_own(traced: InMemorySpanExporter, operation: str) -> None:
    tracer = spans.tracer
    with tracer.sending(operation, "h"):
        pass
    (span,) = traced.get_finished_spans()
    assert (span.name, span.status.status_code) == (f"{operation} hub", StatusCode.UNSET)


def test_what_failed_is_told_by_its_type_alone(traced: InMemorySpanExporter) -> None:
    """Its text may be what a client said."""
    with pytest.raises(ValueError, match="hunter2"), spans.tracer.sending("send", "h"):
        int("my password is hunter2")
    (span,) = traced.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "ValueError"
    assert "hunter2" not in span.to_json()


def test_where_nobody_traces_a_body_is_what_it_was() -> None:
    assert json.loads(message_body(WHO, 1.0, "hi")) == ["message", "ann", None, {}, False, 1.0, "hi"]
    assert json.loads(message_body(WHO, 1.0, "hi", 3))[6:] == ["hi", 3]


@pytest.mark.parametrize("request_number", [None, 3])
def test_a_trace_goes_through_the_mailbox(request_number: int | None) -> None:
    event: Any = read_body("h", 1, message_body(WHO, 1.0, "hi", request_number, "00-ab-cd-01"))
    assert (event.data, event.request, event.trace) == ("hi", request_number, "00-ab-cd-01")


def test_a_span_that_is_none_carries_nothing(traced: InMemorySpanExporter) -> None:
    assert spans.tracer.parent() == ""
