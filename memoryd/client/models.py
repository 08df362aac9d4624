"""What the service answers about knowledge bases: the service's own schemas, by shorter names."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from memoryd.http.schemas import knowledge as schemas


class Model(BaseModel):
    """What only the client has: an argument, or a part of a stream."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Strategy = Literal["fact", "context", "structural", "code"]


class Chunking(Model):
    """How documents shall be cut: ``max_tokens`` a chunk, ``overlap_tokens`` between neighbours."""

    strategy: Strategy = "structural"
    max_tokens: int = 384
    overlap_tokens: int = 32


Cut: TypeAlias = Chunking | schemas.ChunkingOut
"""That of a knowledge base, for another, or one's own."""

KnowledgeBase = schemas.BaseOut
BasePage = schemas.BasePage
Version = schemas.VersionOut
VersionPage = schemas.VersionPage
Counts = schemas.CountsOut
DocumentChange = schemas.DocumentChangeOut
Diff = schemas.DiffOut
Collected = schemas.CollectedOut
Document = schemas.DocumentOut
DocumentPage = schemas.DocumentPage
Chunk = schemas.ChunkOut
ChunkPage = schemas.ChunkPage
Uploaded = schemas.UploadedOut
Uploads = schemas.UploadsOut
Comparison = schemas.CompareOut
