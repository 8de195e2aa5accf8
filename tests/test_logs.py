"""Loggers whose lines nobody else can write."""

import logging

import pytest

from django_hub.logs import get_logger, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lobby", "lobby"),
        ("größer als 🎈", "größer als 🎈"),
        ("a\r\nERROR forged", "a\\r\\nERROR forged"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\u2028b\x85c\u202ed", "a\\u2028b\\x85c\\u202ed"),
        ("<b>", "<b>"),
    ],
)
def test_what_is_printable_stays(text, shown):
    assert printable(text) == shown


def test_arguments_are_escaped_and_keep_their_types(caplog):
    logger = get_logger("django_hub.test_logs")
    assert get_logger("django_hub.test_logs").filters == logger.filters
    logger.warning("%s: %d of %.1f, %s", "a\nb", 3, 1.5, ValueError("c\rd"))
    logger.warning("100 %")
    assert caplog.messages == ["a\\nb: 3 of 1.5, c\\rd", "100 %"]


def test_what_exceptions_say_is_escaped_in_a_traceback(caplog):
    logger = get_logger("django_hub.test_logs")
    try:
        try:
            raise ValueError("a\r\nERROR forged\x1b[2J")
        except ValueError as error:
            raise ExceptionGroup("several\nERROR forged", [error, KeyError("a\u202eb")]) from error
    except ExceptionGroup:
        logger.exception("It failed")
    lines = caplog.text.rstrip("\n").split("\n")
    assert "ValueError: a\\r\\nERROR forged\\x1b[2J" in lines
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("ERROR forged")]
    assert [line for line in lines if line[:9] == "Traceback"] == ["Traceback (most recent call last):"]
    assert "direct cause" in caplog.text
    logger.error("without one", exc_info=None)
    assert caplog.records[-1].exc_text is None


def test_each_logger_of_the_package_has_it():
    import django_hub.consumers
    import django_hub.workers  # noqa: F401

    ours = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name.startswith("django_hub.") and isinstance(logger, logging.Logger)
    ]
    assert len(ours) > 10
    assert all(logger.filters for logger in ours)
