"""What a room and a person may be called: the one place that says so."""

import re

# "-" is escaped for the browser: the same text is the form's `pattern`, and there it must be.
PATTERN = r"[A-Za-z0-9._\-]{1,64}"
RULE = "1 to 64 characters: letters (A to Z, a to z), digits, - _ and ."
MAX_LENGTH = 64


def is_name(text: str) -> bool:
    return re.fullmatch(PATTERN, text) is not None
