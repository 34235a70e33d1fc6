"""What went wrong when an answer would be an infinite list."""


class InfiniteError(ValueError):
    """The list that was asked for is infinite; the message says why."""
