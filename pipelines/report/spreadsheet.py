"""Text cells that a spreadsheet takes as text."""


def safe_cell(text: str) -> str:
    """Quote text that Excel or LibreOffice would run as a formula: scene ids and notes come from strangers."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
