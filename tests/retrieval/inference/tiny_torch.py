"""Tiny models of random weights, as sentence-transformers saves them. Needs the ``torch`` extra."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

_TEXT = "the lake was quiet that morning and boats lay low while she walked to town with her brother probe"
WORDS = _TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer_at(folder: Path) -> None:
    """A word-level ``tokenizer.json`` with BERT's special tokens, and what transformers wants beside it."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertTokenizerFast", "model_max_length": 64, "do_lower_case": true, "pad_token": "[PAD]",'
        ' "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}',
        encoding="utf-8",
    )


def embedder_at(folder: Path) -> Path:
    """Two layers of 32 dimensions, mean pooling, a window of 64 tokens, and prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    bare = folder / "bare"
    bare.mkdir(parents=True)
    tokenizer_at(bare)
    BertModel(_config()).save_pretrained(bare)
    modules = [Transformer(str(bare)), Pooling(32, pooling_mode="mean")]
    saved = folder / "embedder"
    SentenceTransformer(modules=modules, prompts={"query": "the query ", "document": ""}, device="cpu").save(str(saved))
    tokenizer_at(saved)
    return saved


def reranker_at(folder: Path) -> Path:
    """The same shape with one logit."""
    from transformers import BertForSequenceClassification

    saved = folder / "reranker"
    saved.mkdir(parents=True)
    BertForSequenceClassification(_config(num_labels=1)).save_pretrained(saved)
    tokenizer_at(saved)
    return saved


def _config(**more: int) -> object:
    import torch
    from transformers import BertConfig

    torch.manual_seed(7)
    return BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        **more,
    )
