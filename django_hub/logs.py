"""Loggers whose lines nobody else can write.

Hub names, client ids and what exceptions say of them come from clients. In a log a line break among them
would begin a line of their own making, an escape sequence would act on the terminal that shows it. So what
is put into a message is escaped where it can't be printed, and so is a traceback's text. (HTML is left as
it is: a log is text, and who shows it in a page has to escape all of it.)
"""

from __future__ import annotations

import logging
import traceback


def get_logger(name: str) -> logging.Logger:
    """The logger of that name, as `logging.getLogger`."""
    logger = logging.getLogger(name)
    # A filter of a logger is not asked of what its children log, so each has it.
    if _escape not in logger.filters:
        logger.addFilter(_escape)
    return logger


def printable(text: str) -> str:
    """``text`` with what can't be printed written as in Python, ``\\n`` for a line break."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _escape(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_shown, record.args))
    if record.exc_info and record.exc_info[1] is not None and record.exc_text is None:
        # Formatters take what is there already.
        record.exc_text = _traceback(record.exc_info[1])
    return True


def _traceback(error: BaseException) -> str:
    parts = [
        # Frames, and what is between two tracebacks, are lines of their own; what an exception says is one.
        "\n".join(map(printable, part.split("\n"))) if part[:1].isspace() else printable(part[:-1]) + "\n"
        for part in traceback.TracebackException.from_exception(error).format()
    ]
    return "".join(parts).rstrip("\n")


def _shown(value: object) -> object:
    # What else is logged here are numbers, and values that show text by its repr.
    return printable(str(value)) if isinstance(value, str | BaseException) else value
