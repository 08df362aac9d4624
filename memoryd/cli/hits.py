"""What was found, for people."""

import sys

from rich.text import Text

from memoryd.cli.shown import console, indented, minute, note, plain, shortened
from memoryd.client import Explanation, Hit, Recall

_LONGEST = 600


def hits(recall: Recall) -> None:
    """Hits as blocks; what is missing, on standard error."""
    out = console(sys.stdout.isatty())
    for number, hit in enumerate(recall.hits, 1):
        out.print(_head(number, hit))
        indented(shortened(hit.text, _LONGEST))
        if hit.explain is not None:
            out.print(Text(f"    {_why(hit.explain)}", style="dim"))
        out.print(Text(f"    {hit.id}", style="dim"))
    total = recall.timings_ms.get("total")
    note(f"{len(recall.hits):,} found" + ("" if total is None else f" in {total:,.0f} ms"))
    missing(recall.degraded)


def missing(degraded: list[str]) -> None:
    """What an answer lacks."""
    if degraded:
        note(f"incomplete, without: {', '.join(degraded)}", style="yellow")


def place(hit: Hit) -> str:
    """Where it stands: a space, or a document."""
    cited = hit.knowledge
    if cited is None:
        return f"space {hit.space}"
    parts = [f"{cited.kb}@{cited.version}", cited.document_id, *([" › ".join(cited.section)] if cited.section else [])]
    if cited.pages is not None:
        first, last = cited.pages
        parts.append(f"page {first}" if first == last else f"pages {first}–{last}")
    return ", ".join(parts)


def _head(number: int, hit: Hit) -> Text:
    parts = [f"{hit.score:.3f}", hit.kind]
    parts += [one for one in (minute(hit.event_time), hit.speaker or hit.user_id, place(hit)) if one]
    head = Text(f"{number:>2}. ", style="bold cyan")
    return head.append("  ".join(map(plain, parts)), style="bold")


def _why(explanation: Explanation) -> str:
    arms = [f"{name} {'-' if arm.rank is None else f'#{arm.rank}'}" for name, arm in explanation.arms.items()]
    parts = [*arms, f"fused {explanation.fused:.3f}"]
    if explanation.temporal:
        parts.append(f"time +{explanation.temporal:.3f}")
    if explanation.rerank is not None:
        parts.append(f"rerank {explanation.rerank:.3f}")
    if explanation.via_neighbour:
        parts.append("by its neighbour")
    return ", ".join(parts)
