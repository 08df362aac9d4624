"""The packing of candidates into a token budget: the entrance to this folder."""

from collections.abc import Iterator, Sequence

from retrieval.errors import BudgetTooSmall
from retrieval.packing.layout import Layout, Shown, arranged, layout_for
from retrieval.packing.model import Candidate, DroppedItem, DropReason, Packed, PackedItem, PackRequest
from retrieval.packing.renditions import Extractor, SentenceScorer
from retrieval.packing.search import Plan, Search
from retrieval.packing.sequence import POINTER, Items, must_indices, steps
from retrieval.ports import TokenCounter


def pack(
    request: PackRequest,
    candidates: Sequence[Candidate],
    counter: TokenCounter,
    *,
    sentence_scorer: SentenceScorer | None = None,
) -> Packed:
    """What to show of ``candidates`` in ``request.budget_tokens`` tokens, with a manifest of all of them.

    Pure and deterministic: the order of ``candidates`` does not matter, equal scores are told apart by id. The result
    never counts more tokens than the budget, and a larger budget never gives less value. Raises
    :class:`retrieval.errors.BudgetTooSmall` when the ``must_include`` items do not fit even as pointers.
    """
    ranked = sorted(candidates, key=_rank_key)
    # What a document says is about no user.
    subjects = {candidate.subject for candidate in ranked if not candidate.origin}
    layout = layout_for(request.format, sections=bool(request.section_budgets), subjects=len(subjects) > 1)
    items = Items(ranked, layout, Extractor(request.query, request.term_weights, sentence_scorer), counter)
    must = must_indices(items)
    frame = counter.count(layout.open) + counter.count(layout.close) + layout.slack
    search = Search(
        items,
        steps(items, request.section_budgets),
        budget=request.budget_tokens,
        frame=frame + layout.extra_tokens,
        must=len(must),
    )
    for plan in search.plans():
        shown = list(_shown(plan, items))
        lines = _lines(shown, layout, request)
        text = layout.finish([line for line, _ in lines]) if shown else ""
        used = counter.count(text) + layout.extra_tokens if shown else 0
        if used <= request.budget_tokens:
            packed = [(item, line) for line, item in lines if item is not None]
            return Packed(
                text=text,
                used_tokens=used,
                items=tuple(_item(each, number, counter.count(line), items) for number, (each, line) in enumerate(packed, 1)),
                dropped=tuple(_dropped(items, {each.rank - 1 for each in shown}, request)),
                messages=layout.messages(text),
                value=plan.value,
            )
    raise BudgetTooSmall(
        f"{len(must)} must_include items do not fit {request.budget_tokens} tokens even as pointers; "
        "raise budget_tokens or name fewer"
    )


def _rank_key(candidate: Candidate) -> tuple[bool, float, str, str]:
    return (not candidate.must_include, -candidate.score, candidate.id, candidate.text)


def _shown(plan: Plan, items: Items) -> Iterator[Shown]:
    yield from (items.shown(index, level) for index, level in plan.levels)
    yield from (items.shown(index, POINTER) for index in plan.pointers)


def _lines(shown: Sequence[Shown], layout: Layout, request: PackRequest) -> list[tuple[str, Shown | None]]:
    """Every line between the fence's ends, numbered from 1 in reading order; a header has no item."""
    lines: list[tuple[str, Shown | None]] = []
    number = 0
    for group in arranged(shown, layout, request.order):
        if header := layout.header(group[0].candidate):
            lines.append((header, None))
        for each in group:
            number += 1
            lines.append((layout.line(each, number), each))
    return lines


def _item(shown: Shown, citation: int, tokens: int, items: Items) -> PackedItem:
    candidate = shown.candidate
    why = f"rank {shown.rank} of {len(items.ranked)}, score {candidate.score:.4g}"
    return PackedItem(
        id=candidate.id,
        external_id=candidate.external_id,
        citation=citation,
        rendition=shown.rendition,
        tokens=tokens,
        why=f"must_include, {why}" if candidate.must_include else why,
        section=candidate.section,
        subject=candidate.subject,
        source_type=candidate.source_type,
        source_uri=candidate.source_uri,
        spans=shown.spans,
        merged=tuple(items.ranked[i].id for i in items.duplicates.stood_for(shown.rank - 1)),
    )


def _dropped(items: Items, shown: set[int], request: PackRequest) -> Iterator[DroppedItem]:
    for index, candidate in enumerate(items.ranked):
        if index in shown:
            continue
        duplicate = items.duplicates.known(index)
        if duplicate is not None:
            twin = items.ranked[duplicate.of].id
            yield DroppedItem(candidate.id, candidate.external_id, duplicate.reason, twin)
            continue
        reason = DropReason.OVER_BUDGET
        if items.empty(index):
            reason = DropReason.EMPTY
        elif candidate.section in request.section_budgets:
            reason = DropReason.SECTION_BUDGET
        yield DroppedItem(candidate.id, candidate.external_id, reason)
