"""Chunking: from the blocks of a document to sections, and from those to what is embedded and indexed."""

from ingestion.chunk.chunker import LEAST_TOKENS, Chunker
from ingestion.chunk.model import CHUNKER_VERSION, SECTION_TOKENS, Chunk, Chunking, Kind, Section, Strategy
from ingestion.chunk.stream import stream
from ingestion.chunk.tokens import ChunkTokenizer, readable_tokens

__all__ = [
    "CHUNKER_VERSION",
    "LEAST_TOKENS",
    "SECTION_TOKENS",
    "Chunk",
    "ChunkTokenizer",
    "Chunker",
    "Chunking",
    "Kind",
    "Section",
    "Strategy",
    "readable_tokens",
    "stream",
]
