"""What a page of ours may do: show its pictures and its own style, known by its hash, and nothing else.

A style named by its hash is the one that was written into the page; what a scene's name or a reader's note might smuggle
in is not. The pages have no script, no style attribute and no address to fetch from.
"""

import base64
import hashlib
import re

STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


def style_source(style: bytes) -> str:
    """Return the source of Content Security Policy level 3 that stands for a style element with this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style).digest()).decode()}'"


def style_element(style: str) -> str:
    """Return the policy of a page, as it stands in its head, and after it the only style the policy lets pass."""
    policy = f"default-src 'none'; img-src data:; style-src {style_source(style.encode())}"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>\n'


def style_sources(head: bytes) -> str:
    """Return the sources of the first style element in the beginning of a page; ``'none'`` where there is none."""
    found = STYLE.search(head)
    return style_source(found[1]) if found else "'none'"
