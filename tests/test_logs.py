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
