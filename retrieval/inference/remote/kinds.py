"""The kinds of inference servers."""

from enum import StrEnum


class ServerKind(StrEnum):
    """Which format a server speaks: memoryd's own, text-embeddings-inference's, or OpenAI's embeddings."""

    MEMORYD = "memoryd"
    TEI = "tei"
    OPENAI = "openai"
