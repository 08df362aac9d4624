"""What an interface needs of knowledge bases."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from memoryd.knowledge.bases import KnowledgeBases
from memoryd.knowledge.library import Library
from memoryd.knowledge.orders import Orders
from memoryd.knowledge.uploads import Uploads
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from retrieval.scope import Scope


class Once(Protocol):
    """Does work once for one idempotency key."""

    async def run(self, scope: Scope, idempotency: Idempotency | None, work: Callable[[], Awaitable[Receipt]]) -> Receipt:
        """The receipt of ``work``, or of an earlier request with this key.

        Raises ``IdempotencyKeyReused``, and ``IdempotencyInProgress`` while that one is running.
        """


@dataclass(frozen=True, slots=True)
class KnowledgeServices:
    """The use cases of ``/v1/knowledge-bases``. ``once_long`` is for work that takes as long as a knowledge base is large."""

    bases: KnowledgeBases
    versions: Versioning
    library: Library
    uploads: Uploads
    orders: Orders
    once: Once
    once_long: Once
