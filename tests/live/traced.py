"""Spans of one process, written to a file of its own as they end."""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def trace_into(folder: str) -> None:
    """A span a line, as JSON."""

    def line(span: ReadableSpan) -> str:
        return f"{span.to_json(indent=None)}\n"

    provider = TracerProvider()
    out = (Path(folder) / f"{os.getpid()}.jsonl").open("a")
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
    trace.set_tracer_provider(provider)
