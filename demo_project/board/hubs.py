"""What the hubs are called: one for each board, and one for each user's own notices."""


def board_hub(board_id: int) -> str:
    return f"board.{board_id}"


def notices_hub(user_id: int) -> str:
    """However many pages a user has open, anywhere: all of them are in it."""
    return f"notices.{user_id}"
