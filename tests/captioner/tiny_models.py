"""Captioning checkpoints with random weights, small enough to build in a test.

They are written by `save_pretrained`, so that what is loaded is what a real checkpoint looks like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="captioning models need PyTorch")
transformers = pytest.importorskip("transformers", reason="captioning models need transformers")
tokenizers = pytest.importorskip("tokenizers", reason="captioning models need tokenizers")

_LIVELY = 8.0
_BERT_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
_BERT_WORDS = ["a", "the", "red", "dog", "cat", "on", "grass", "of", "photo", "man", "house"]
_SENTENCES = [
    "What does the image describe? Describe in detail what is shown in the image.",
    "Describe with a paragraph what is shown. What is the text? Describe this picture briefly.",
]


def tiny_blip(folder: Path, seed: int = 0, hidden: int = 32) -> Path:
    """BLIP: 32x32 pixels, 18 words, a text of at most 64 tokens."""
    folder.mkdir(parents=True)
    words = [*_BERT_MARKS, *_BERT_WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(
        vocab=str(folder / "vocab.txt"), bos_token="[DEC]", additional_special_tokens=["[ENC]"]
    )
    sizes = {"hidden_size": hidden, "intermediate_size": 48, "num_hidden_layers": 2}
    shape = {**sizes, "num_attention_heads": 4, "projection_dim": 16}
    text = {
        **shape,
        "vocab_size": len(words),
        "encoder_hidden_size": hidden,
        "max_position_embeddings": 64,
        "bos_token_id": 5,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    torch.manual_seed(seed)
    model = transformers.BlipForConditionalGeneration(
        transformers.BlipConfig(
            text_config=text,
            vision_config={**shape, "image_size": 32, "patch_size": 8, "initializer_range": 0.02},
            projection_dim=16,
        )
    )
    with torch.no_grad():  # it never says its marks, but for the one that ends a caption
        for mark in range(len(_BERT_MARKS)):
            model.text_decoder.cls.predictions.bias[mark] = 0.0 if mark == 3 else -100.0
    pictures = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    return _saved(folder, model, transformers.BlipProcessor(pictures, tokenizer))


def tiny_florence2(folder: Path, seed: int = 0) -> Path:
    """Florence-2: 64x64 pixels, five places for the picture, a text of at most 64 tokens."""
    folder.mkdir(parents=True)
    tokenizer = _bpe(
        ["<s>", "<pad>", "</s>", "<unk>", "<image>"],
        {"image_token": "<image>"},
        bos_token="<s>",
        eos_token="</s>",
    )
    text = {
        "model_type": "bart",
        "vocab_size": len(tokenizer),
        "d_model": 32,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
        **_both("layers", 1),
        **_both("attention_heads", 2),
        **_both("ffn_dim", 32),
    }
    vision = {
        "depths": [1, 1, 1, 1],
        "embed_dim": [16, 32, 32, 32],
        "num_heads": [2, 2, 2, 2],
        "num_groups": [2, 2, 2, 2],
        "window_size": 4,
        "projection_dim": 32,
        "max_position_embeddings": 10,
        "max_temporal_embeddings": 4,
    }
    torch.manual_seed(seed)
    model = transformers.Florence2ForConditionalGeneration(
        transformers.Florence2Config(
            vision_config=vision, text_config=text, image_token_id=tokenizer.image_token_id
        )
    )
    # As in the real one's generation_config.json.
    ends = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    model.generation_config.update(
        **ends, forced_eos_token_id=2, num_beams=3, no_repeat_ngram_size=3, early_stopping=True
    )
    pictures = transformers.CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False
    )
    pictures.image_seq_length = 5
    return _saved(folder, model, transformers.Florence2Processor(pictures, tokenizer))


def tiny_smolvlm(folder: Path, seed: int = 0) -> Path:
    """SmolVLM: tiles of 32x32 pixels, four places each, a text of at most 256 tokens."""
    from transformers.models.smolvlm import processing_smolvlm

    if processing_smolvlm.num2words is None:
        processing_smolvlm.num2words = str
    folder.mkdir(parents=True)
    names = ("fake_image", "global_image", "video", "image", "end_of_utterance")
    marks = dict(
        zip(
            (f"{name}_token" for name in names),
            ("<fake_token_around_image>", "<global-img>", "<video>", "<image>", "<end>"),
            strict=True,
        )
    )
    places = ["<|im_start|>", "<pad>", "<unk>", *marks.values()]
    tokenizer = _bpe(places, marks, bos_token="<|im_start|>", eos_token="<end>")
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2}
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    torch.manual_seed(seed)
    model = transformers.SmolVLMForConditionalGeneration(
        transformers.SmolVLMConfig(
            image_token_id=tokenizer.image_token_id,
            pad_token_id=pad,
            scale_factor=2,
            vision_config={**shape, **heads, "image_size": 32, "patch_size": 8},
            text_config={
                **shape,
                **heads,
                "model_type": "llama",
                "vocab_size": len(tokenizer),
                "num_key_value_heads": 2,
                "max_position_embeddings": 256,
                "bos_token_id": 0,
                "eos_token_id": end,
                "pad_token_id": pad,
            },
        )
    )
    model.generation_config.update(eos_token_id=end, pad_token_id=pad, bos_token_id=0)
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(**sizes),
        tokenizer,
        transformers.SmolVLMVideoProcessor(**sizes),
        image_seq_len=4,
        chat_template=processing_smolvlm.DEFAULT_CHAT_TEMPLATE,
    )
    return _saved(folder, model, processor)


BUILDERS = {"blip": tiny_blip, "florence2": tiny_florence2, "smolvlm": tiny_smolvlm}


def _bpe(marks: list[str], named: dict[str, str], **special: str) -> Any:
    """A byte-level tokenizer that knows a few sentences."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=marks,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=named,
        **special,
    )


def _both(name: str, value: int) -> dict[str, int]:
    return {f"encoder_{name}": value, f"decoder_{name}": value}


def _enliven(model: Any, factor: float) -> None:
    """Weights as small as a fresh model's would say the same of every picture."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(factor)


def _saved(folder: Path, model: Any, processor: Any) -> Path:
    transformers.utils.logging.disable_progress_bar()
    _enliven(model, _LIVELY)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
