"""Packing: what a model should see of what was found, within a token budget, and what was left out. Pure, no I/O."""

from retrieval.packing.layout import MESSAGE_TOKENS
from retrieval.packing.model import (
    Candidate,
    DroppedItem,
    DropReason,
    Format,
    Message,
    Order,
    Packed,
    PackedItem,
    PackRequest,
    Rendition,
    Span,
)
from retrieval.packing.more import more
from retrieval.packing.pack import pack
from retrieval.packing.part import Place, part
from retrieval.packing.renditions import Extractor, Extracts, Part, SentenceScorer, query_terms
from retrieval.packing.tokens import (
    DEFAULT_TOKENIZER,
    HuggingFaceCounter,
    OpenAICounter,
    TokenizerRegistry,
    counter,
)

__all__ = [
    "DEFAULT_TOKENIZER",
    "MESSAGE_TOKENS",
    "Candidate",
    "DropReason",
    "DroppedItem",
    "Extractor",
    "Extracts",
    "Format",
    "HuggingFaceCounter",
    "Message",
    "OpenAICounter",
    "Order",
    "PackRequest",
    "Packed",
    "PackedItem",
    "Part",
    "Place",
    "Rendition",
    "SentenceScorer",
    "Span",
    "TokenizerRegistry",
    "counter",
    "more",
    "pack",
    "part",
    "query_terms",
]
