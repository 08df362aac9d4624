"""Embedding many items with a model that may refuse some: those are left out, and the others are not held up by them."""

import logging
from collections.abc import Sequence

import numpy as np

from memoryd.generations.model import Mark
from memoryd.generations.ports import Unembedded
from retrieval.errors import BatchTooLarge, InferenceError
from retrieval.ports import Embedder, Lane
from retrieval.vectors import Vectors

log = logging.getLogger(__name__)

# What any model can embed: where it refuses this too, not the items are to blame.
_ANYTHING = "memory"


_TOLD = f"{InferenceError.code}: the model refuses "


class Refusals:
    """The items that a model refused, and why."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}
        self._before: str | None = None

    def __bool__(self) -> bool:
        return bool(self._why)

    def go_on(self, failure: str | None) -> None:
        """Not everything is looked at this time: what an earlier round told of refusals holds."""
        self._before = failure if failure is not None and failure.startswith(_TOLD) else None

    def has(self, at: Mark, one: Unembedded) -> bool:
        """True when it was refused."""
        return _name(at, one) in self._why

    @property
    def told(self) -> str | None:
        """One of them, and how many more; ``None`` without any."""
        if not self._why:
            return self._before
        name, why = next(iter(self._why.items()))
        others = f" and {len(self._why) - 1} more" if len(self._why) > 1 else ""
        return f"{_TOLD}{name}{others}, which stay without a vector: {why}"

    async def embedded(self, model: Embedder, at: Mark, items: Sequence[Unembedded]) -> tuple[list[Unembedded], Vectors]:
        """The items of a tenant that the model takes, with their vectors, shape ``(len(items), dimension)``.

        One by one where it refuses them together. Raises ``InferenceError`` when the model cannot be had, or refuses everything
        by the end: a server may have begun to refuse in the middle.
        """
        try:
            return list(items), await _vectors(model, at, items)
        except InferenceError as error:
            if not _of_items(error):
                raise
        taken: list[Unembedded] = []
        vectors: list[Vectors] = []
        refused: dict[str, str] = {}
        for one in items:
            try:
                vectors.append(await _vectors(model, at, [one]))
                taken.append(one)
            except InferenceError as error:
                if not _of_items(error):
                    raise
                refused[_name(at, one)] = str(error)
        if not refused:
            return taken, np.concatenate(vectors)
        await _vectors(model, at, [Unembedded(0, _ANYTHING)])
        log.warning("a model refused %d of %d items: %s", len(refused), len(items), ", ".join(refused))
        self._why |= refused
        return taken, np.concatenate(vectors) if vectors else np.empty((0, model.card.dimension), dtype=np.float32)


async def _vectors(model: Embedder, at: Mark, items: Sequence[Unembedded]) -> Vectors:
    return np.asarray(await model.embed_passages([one.text for one in items], lane=Lane.BACKGROUND, owner=at.tenant_id))


def _of_items(error: InferenceError) -> bool:
    """True when what was given may be the cause, and not that the model is away, busy or another one."""
    return type(error) is InferenceError or isinstance(error, BatchTooLarge)


def _name(at: Mark, one: Unembedded) -> str:
    return f"{at.kind.removesuffix('s')} {one.pid} of tenant {at.tenant_id}"
