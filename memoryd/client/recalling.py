"""Operations that find memories, and pack them into a budget."""

from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.core import asked
from memoryd.client.memory_models import Context, Found, Recall
from memoryd.client.operation import Operation, Operations
from memoryd.client.questions import Question, question
from memoryd.client.steps import Request, Steps
from memoryd.client.wording import filled

DEFAULT_TOKENIZER = "o200k_base"
Format = Literal["text", "messages", "json"]
Order = Literal["best_first", "edges", "chronological"]

_RECALL, _CONTEXT = "/v1/recall", "/v1/context"


class RecallOperations(Operations):
    """A question is words, or a :class:`~memoryd.client.Question` that also says where and when to look."""

    @Operation
    def recall(self, query: str | Question, *, max_text_chars: int | None = None) -> Steps[Recall]:
        """Find memories. ``max_text_chars``: longer texts are cut around the passage that matched."""
        body = question(query).body() | filled({"max_text_chars": max_text_chars})
        return (yield from asked(Recall, Request("POST", _RECALL, body=body), self.retries))

    @Operation
    def context(
        self,
        query: str | Question,
        *,
        budget_tokens: int = 1_024,
        tokenizer: str = DEFAULT_TOKENIZER,
        form: Format = "text",
        order: Order = "best_first",
        sections: Mapping[Found, int] | None = None,
        must_include: Sequence[UUID | str] = (),
        session_id: str | None = None,
        session_tokens: int | None = None,
    ) -> Steps[Context]:
        """A recall packed into ``budget_tokens``, counted with ``tokenizer``. ``sections``: tokens reserved for a kind.
        ``session_id``: a session to show beside memories, in at most ``session_tokens``."""
        body = question(query).body() | {"budget_tokens": budget_tokens, "tokenizer": tokenizer, "format": form, "order": order}
        body |= filled(
            {
                "sections": {str(name): tokens for name, tokens in (sections or {}).items()},
                "must_include": [str(one) for one in must_include],
                "session_id": session_id,
                "session_tokens": session_tokens,
            }
        )
        return (yield from asked(Context, Request("POST", _CONTEXT, body=body), self.retries))

    @Operation
    def expand(self, handle: str, *, budget_tokens: int = 512, tokenizer: str = DEFAULT_TOKENIZER) -> Steps[Context]:
        """More of one item of a context, by its handle."""
        body: dict[str, JsonValue] = {"handle": handle, "budget_tokens": budget_tokens, "tokenizer": tokenizer}
        return (yield from asked(Context, Request("POST", f"{_CONTEXT}/expand", body=body), self.retries))
