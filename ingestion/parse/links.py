"""Links in Markdown: only an address that means something outside of the document is kept."""

from __future__ import annotations

_MAX_ADDRESS = 500


def link(shown: str, target: str | None) -> str:
    """What is shown as a link to the target, or by itself where the target is relative, endless, or shown anyway."""
    words = shown.strip()
    if not words or "\v" in shown or not target or not target.startswith(("http://", "https://")):
        return shown
    if len(target) > _MAX_ADDRESS or words in target:
        return shown
    address = target.replace(" ", "%20").replace("(", "%28").replace(")", "%29")
    return shown.replace(words, f"[{words}]({address})", 1)
