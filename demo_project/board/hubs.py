"""What the hubs are called: one for each board, and one for each user's own notices.

A hub's name is one for the whole site. The chat lets anybody into the room that its address names, and no
room has a slash in its name: so nobody comes into a board that way.
"""


def board_hub(board_id: int) -> str:
    return f"board/{board_id}"


def notices_hub(user_id: int) -> str:
    """However many pages a user has open, anywhere: all of them are in it."""
    return f"notices/{user_id}"
