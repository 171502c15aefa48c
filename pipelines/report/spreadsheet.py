"""Text cells that a spreadsheet takes as text."""

# What begins a formula, also in the full width of East Asian keyboards, and the white space that is skipped before it.
STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


def safe_cell(text: str) -> str:
    """Quote text that Excel or LibreOffice would run as a formula: scene ids and notes come from strangers."""
    return f"'{text}" if text and text[0] in STARTS else text
