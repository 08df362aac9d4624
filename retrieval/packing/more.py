"""More of one item than a reader has seen already."""

from collections.abc import Sequence

from retrieval.errors import BudgetTooSmall
from retrieval.packing.layout import Shown, body_start, layout_for
from retrieval.packing.model import Candidate, Format, Packed, PackedItem, Rendition
from retrieval.packing.renditions import Extractor
from retrieval.ports import TokenCounter


def more(
    candidate: Candidate, counter: TokenCounter, *, budget_tokens: int, seen_chars: int = 0, terms: Sequence[str] = ()
) -> Packed:
    """The largest rendition that fits the budget, out of those that show more than ``seen_chars`` characters.

    Gist, excerpts of ever twice the length around what is about ``terms`` (else around what was found), and the whole.
    Where the whole is no longer than what was seen, it is the whole. Raises :class:`retrieval.errors.BudgetTooSmall` when
    there is more but none of it fits. Pure and deterministic.
    """
    layout = layout_for(Format.TEXT, sections=False, subjects=False)
    renditions = _larger(candidate, seen_chars, terms)
    for shown in reversed(renditions):
        line = layout.line(shown, 1)
        text = layout.finish([layout.header(candidate), line])
        used = counter.count(text)
        if used <= budget_tokens:
            return Packed(text, used, (expanded(shown, counter.count(line)),), ())
    if not renditions:
        return Packed("", 0, (), ())
    needed = counter.count(layout.finish([layout.header(candidate), layout.line(renditions[0], 1)]))
    raise BudgetTooSmall(f"the next rendition takes {needed} tokens; raise budget_tokens")


def _larger(candidate: Candidate, seen_chars: int, terms: Sequence[str]) -> list[Shown]:
    extractor = Extractor("", dict.fromkeys(terms, 1.0))
    start = body_start(candidate, structured=False)
    extracts = extractor.extract(candidate.text, start, matched_at=candidate.matched_at, growing=True)
    if not extracts.full:
        return []
    parts = [(Rendition.GIST, extracts.gist.spans)] if extracts.gist else []
    parts += [(Rendition.EXCERPT, excerpt.spans) for excerpt in extracts.excerpts]
    larger = [part for part in parts if sum(end - start for start, end in part[1]) > seen_chars]
    return [Shown(candidate, 1, rendition, spans) for rendition, spans in (*larger, (Rendition.FULL, extracts.full))]


def expanded(shown: Shown, tokens: int) -> PackedItem:
    """The manifest's entry of what is shown more of."""
    candidate = shown.candidate
    return PackedItem(
        id=candidate.id,
        external_id=candidate.external_id,
        citation=1,
        rendition=shown.rendition,
        tokens=tokens,
        why="expanded",
        section=candidate.section,
        subject=candidate.subject,
        source_type=candidate.source_type,
        source_uri=candidate.source_uri,
        spans=shown.spans,
    )
