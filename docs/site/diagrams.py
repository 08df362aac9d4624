"""Mermaid diagrams as SVG in the page: a reader's browser fetches and runs nothing for them."""

import itertools
import re

import mermaidx

_FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBERS = itertools.count(1)


def drawn(markdown: str) -> str:
    """The page with its ``mermaid`` blocks drawn."""
    return _FENCE.sub(lambda found: _figure(found[1]), markdown)


def _figure(source: str) -> str:
    # Mermaid calls every drawing "my-svg", and its styles and arrow heads are found by that name.
    svg = mermaidx.render(source).svg().replace("my-svg", f"diagram-{next(_NUMBERS)}")
    return f"<figure>{' '.join(svg.split())}</figure>"
