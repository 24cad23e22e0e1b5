"""BLIP checkpoints with seeded random weights, of any size, as `save_pretrained` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class BlipSize:
    """How large a BLIP is."""

    hidden: int
    layers: int
    heads: int
    image_px: int
    words: int


SIZES = {
    "small": BlipSize(hidden=192, layers=4, heads=4, image_px=128, words=2_000),
    "mid": BlipSize(hidden=384, layers=6, heads=6, image_px=224, words=8_000),
    # That of Salesforce/blip-image-captioning-base: 224M parameters.
    "base": BlipSize(hidden=768, layers=12, heads=12, image_px=384, words=30_524),
}


def save_blip(folder: Path, size: BlipSize, seed: int = 0) -> Path:
    """Write a BLIP of that size to a new folder."""
    folder.mkdir(parents=True)
    words = [*_MARKS, *(f"word{number}" for number in range(size.words - len(_MARKS)))]
    (folder / "vocab.txt").write_text("\n".join(words))
    shape = {
        "hidden_size": size.hidden,
        "intermediate_size": 4 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }
    text = {"vocab_size": size.words, "encoder_hidden_size": size.hidden, "bos_token_id": 4}
    ends = {"sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    config = transformers.BlipConfig(
        text_config={**shape, **text, **ends},
        vision_config={**shape, "image_size": size.image_px, "patch_size": 16},
    )
    torch.manual_seed(seed)
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    square = {"height": size.image_px, "width": size.image_px}
    processor = transformers.BlipProcessor(
        transformers.BlipImageProcessor(size=square),
        transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")),
    )
    processor.save_pretrained(folder)
    return folder
