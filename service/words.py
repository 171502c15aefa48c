"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """Return ``1 look``, ``2 looks``: a number with its noun, whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
