"""More of what was shown: by the names that results carry, a part after another, or by a handle of the REST API."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue

from memoryd.access.service import require
from memoryd.mcp.arguments import MAX_BUDGET, ExpandArguments
from memoryd.mcp.names import ChunkName, MemoryName, Named, parse
from memoryd.mcp.shown import Answer
from memoryd.memory.candidates import of_revision
from memoryd.memory.context import Context
from memoryd.memory.handles import ChunkHandle, Handle
from memoryd.memory.ports import NOW
from memoryd.services import Services
from memoryd.threads import QUICK
from retrieval.packing import DEFAULT_TOKENIZER, Candidate, Packed, PackedItem, Place, Rendition, part
from retrieval.ports import TokenCounter
from retrieval.scope import Action, Scope

NOTHING = "Nothing found."
# Kept of a budget for the list of what can be expanded.
_LIST_SHARE = 0.15
_NEXT, _FIRST = "next_handle", "first_handle"
_LISTED = "Shortened; expand these ids:"


def without_list(budget_tokens: int) -> int:
    """What a context may take of a budget that the list of what can be expanded shares."""
    return budget_tokens - int(budget_tokens * _LIST_SHARE)


async def expand(scope: Scope, use: Services, asked: ExpandArguments) -> Answer:
    """More of one text; with ``around`` the turns before and after it too, and of a chunk, its section."""
    require(scope, Action.READ)
    name, handle = parse(asked.handle), asked.handle
    if isinstance(name, ChunkName):
        in_section = name.in_section or asked.around
        shown, at = await use.contexts.chunk(scope, name.kb, name.version, name.chunk_id, in_section=in_section)
        # A place in the chunk is none of its section, where the chunk is what matched.
        place = name.place if name.in_section == in_section else Place(at, around=True)
        return await _part(shown, replace(name, in_section=in_section, place=place), asked.budget_tokens, use)
    if name is not None:
        revision = await use.contexts.revision(scope, name.memory_id, name.revision, name.at)
        if not asked.around:
            # Who goes on later goes on in the same text.
            name = replace(name, revision=revision.revision)
            return await _part(of_revision(revision), name, asked.budget_tokens, use)
        whole = Handle(name.memory_id, revision.space, Rendition.FULL, name.revision, at=name.at)
        handle = use.handles.issue(scope, whole, use.clock.now())
    found = await use.contexts.expand(scope, handle, without_list(asked.budget_tokens), DEFAULT_TOKENIZER)
    return await packed(scope, use, found, asked.budget_tokens)


async def packed(scope: Scope, use: Services, found: Context, budget_tokens: int) -> Answer:
    """A packed context, and as the budget allows, which of its items there is more of."""
    now = use.clock.now()
    names = {
        item.id: _name(use.handles.read(scope, found.handles[item.id], now), item)
        for item in found.packed.items
        if item.rendition is not Rendition.FULL
    }
    return await QUICK.run(_with_list, found, names, budget_tokens, use.tokenizers.counter())


async def _part(shown: Candidate, name: Named, budget_tokens: int, use: Services) -> Answer:
    return await QUICK.run(_of_part, shown, name, budget_tokens, use.tokenizers.counter())


def _of_part(shown: Candidate, name: Named, budget_tokens: int, counter: TokenCounter) -> Answer:
    """What ``name`` is of, all of it or a part with the names of what is left; within the budget together."""
    found = part(shown, counter, budget_tokens=budget_tokens, place=name.place)
    left = _left(shown, name, found)
    if left:
        # A part that makes room for notes may have ends that this one has not. No place has more digits than the end.
        ends = (_NEXT, _FIRST) if name.place is not None and name.place.around else (_NEXT,)
        most = _notes(dict.fromkeys(ends, replace(name, place=Place(len(shown.text), around=False))), budget_tokens)
        room = budget_tokens - counter.count("\n".join(["", *most]))
        found = part(shown, counter, budget_tokens=room, place=name.place)
        left = _left(shown, name, found)
    text = found.text or "The text ends before that."
    structured: dict[str, JsonValue] = {"text": found.text, "used_tokens": found.used_tokens, "next_handle": None}
    structured |= {key: str(one) for key, one in left.items()}
    return Answer("\n".join([text, *_notes(left, budget_tokens)]), structured)


def _left(shown: Candidate, name: Named, found: Packed) -> dict[str, Named]:
    """What names the rest of a text that is shown in part. Who goes on in it has seen what was before."""
    left: dict[str, Named] = {}
    for item in found.items:
        ((start, end),) = item.spans
        if shown.text[end:].strip():
            left[_NEXT] = replace(name, place=Place(end, around=False))
        if shown.text[:start].strip() and name.place is not None and name.place.around and item.rendition is not Rendition.FULL:
            left[_FIRST] = replace(name, place=Place(0, around=False))
    return left


def _notes(left: Mapping[str, Named], budget_tokens: int) -> list[str]:
    larger = ", or ask with a larger budget_tokens" if budget_tokens < MAX_BUDGET else ""
    notes = [f"It goes on: expand {left[_NEXT]}{larger}."] if _NEXT in left else []
    return notes + ([f"It begins before that: expand {left[_FIRST]}."] if _FIRST in left else [])


def _with_list(found: Context, names: Mapping[str, Named], budget_tokens: int, counter: TokenCounter) -> Answer:
    left = budget_tokens - found.packed.used_tokens
    notes: list[str] = []
    items: list[JsonValue] = []
    for item in found.packed.items:
        if item.id not in names:
            continue
        handle = str(names[item.id])
        line = f"{item.citation}: {handle}"
        left -= counter.count(line + "\n") + (0 if notes else counter.count(_LISTED + "\n"))
        if left < 0:
            break
        notes.append(line)
        items.append({"citation": item.citation, "handle": handle, "rendition": str(item.rendition)})
    text = "\n".join([found.packed.text or NOTHING, *([_LISTED, *notes] if notes else [])])
    structured: dict[str, JsonValue] = {
        "text": found.packed.text,
        "used_tokens": found.packed.used_tokens,
        "expandable": items,
        "omitted": len(found.packed.dropped),
        "degraded": list[JsonValue](found.degraded),
    }
    return Answer(text, structured)


def _name(handle: Handle | ChunkHandle, item: PackedItem) -> Named:
    """What names an item of which a part was shown: more of it is around that."""
    place = None
    if item.spans:
        start, end = max(item.spans, key=lambda span: span.end - span.start)
        place = Place((start + end) // 2, around=True)
    if isinstance(handle, ChunkHandle):
        return ChunkName(handle.kb, str(handle.version), handle.chunk_id, handle.in_section, place)
    if handle.at == NOW:
        return MemoryName(handle.memory_id, place=place)
    return MemoryName(handle.memory_id, handle.revision, handle.at, place)
