"""Pages of lists, bounded by what their texts hold and not only by how many there are."""

from collections.abc import Awaitable, Callable

from memoryd.memory.model import Revision
from memoryd.memory.ports import Page

MOST_CHARACTERS = 4_000_000
"""A page ends with the memory that brings its texts to so many."""

# So many are read at once: of the longest texts, 10 million characters.
_STEP = 50


async def filled(
    read: Callable[[int | None, int], Awaitable[Page]], place: Callable[[Revision], int], *, start: int | None, limit: int
) -> Page:
    """A page of up to ``limit`` from ``start``. ``read`` gives the page of so many behind a position; ``place`` is a position."""
    found: list[Revision] = []
    characters, position = 0, start
    while True:
        page = await read(position, min(_STEP, limit - len(found)))
        for number, one in enumerate(page.revisions, 1):
            found.append(one)
            characters += len(one.content.text)
            if characters >= MOST_CHARACTERS:
                last = number == len(page.revisions) and page.next_seq is None
                return Page(tuple(found), None if last else place(one))
        if page.next_seq is None or len(found) == limit:
            return Page(tuple(found), page.next_seq)
        position = page.next_seq
