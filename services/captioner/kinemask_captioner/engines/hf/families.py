"""What differs between captioning models: their prompts, their inputs, how their sequences begin.

BLIP: Li et al., "BLIP: Bootstrapping Language-Image Pre-training", ICML 2022. Florence-2: Xiao et
al., "Florence-2: Advancing a Unified Representation for a Variety of Vision Tasks", CVPR 2024.
SmolVLM2: Marafioti et al., "SmolVLM: Redefining small and efficient multimodal models", 2025.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from kinemask_captioner.engines.base import BadQueryError, CaptionQuery, Image
from kinemask_captioner.engines.hf.generation import Pen

Tensors: TypeAlias = Mapping[str, torch.Tensor]
# transformers ships no types for its processors and configurations.
Processor: TypeAlias = Any
Model: TypeAlias = Any


class Family(Protocol):
    """One family of models."""

    cuda_dtype: torch.dtype
    """What it computes in on a GPU; on a CPU it is float32."""
    max_rows: int
    """Pictures times beams that it works on at once: bounds its memory."""

    def longest(self, config: Any) -> int:
        """Tokens that a text may have, given ones and made ones together."""
        ...

    def prompt_tokens(self, processor: Processor, text: str) -> int:
        """How many of these the text takes.

        Raises:
            BadQueryError: the model takes no such text.
        """
        ...

    def inputs(self, processor: Processor, image: Image, text: str) -> Tensors:
        """What `generate` wants of one picture, each `(1, ...)`."""
        ...

    def pen(self, model: Model) -> Pen:
        """How a loaded model's sequences are to be read; makes it end where it is told to."""
        ...

    def given(self, inputs: Tensors) -> int:
        """Tokens at the beginning of a generated sequence that were not made."""
        ...

    def words(self, processor: Processor, ids: Sequence[int]) -> str:
        """The words of made tokens, marks left out."""
        ...


class _Tokenizing:
    """Keeps to one thread at a time what uses the tokenizer: its Rust half can be borrowed once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def words(self, processor: Processor, ids: Sequence[int]) -> str:
        with self._lock:
            text: str = processor.tokenizer.decode(ids, skip_special_tokens=True)
        return " ".join(text.split())


class Blip(_Tokenizing):
    """The text is how the caption begins."""

    cuda_dtype = torch.float16
    # Each beam keeps keys and values of the whole picture: 42 MB in the base model.
    max_rows = 32

    def longest(self, config: Any) -> int:
        return int(config.text_config.max_position_embeddings)

    def prompt_tokens(self, processor: Processor, text: str) -> int:
        # Without a text, the word that begins every caption.
        return int(self._ids(processor, text).shape[1]) - 1 if text else 1

    def inputs(self, processor: Processor, image: Image, text: str) -> Tensors:
        pixels = {"pixel_values": _pixels(processor, image)}
        return {**pixels, "input_ids": self._ids(processor, text)} if text else pixels

    def pen(self, model: Model) -> Pen:
        text = model.config.text_config
        return Pen(
            model.text_decoder, frozenset({text.sep_token_id}), text.pad_token_id, text.vocab_size
        )

    def given(self, inputs: Tensors) -> int:
        return int(inputs["input_ids"].shape[1]) - 1 if "input_ids" in inputs else 1

    def _ids(self, processor: Processor, text: str) -> torch.Tensor:
        """`(1, N)`; the last one is an end that `generate` takes away."""
        _refuse_marks(processor, text)
        with self._lock:
            ids: torch.Tensor = processor.tokenizer(text, return_tensors="pt")["input_ids"]
        return ids


class Florence2(_Tokenizing):
    """The text is a task word; the picture's tokens go through the encoder, not the decoder."""

    cuda_dtype = torch.float16
    max_rows = 32
    tasks = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>", "<OCR>")
    """Those whose answer is words; the first is the default."""

    def __init__(self) -> None:
        super().__init__()
        self._prompts: dict[str, torch.Tensor] = {}

    def longest(self, config: Any) -> int:
        return int(config.text_config.max_position_embeddings)

    def prompt_tokens(self, processor: Processor, text: str) -> int:
        if text and text not in self.tasks:
            raise BadQueryError("text", f"expected one of {', '.join(self.tasks)}, found {text!r}")
        return 1

    def inputs(self, processor: Processor, image: Image, text: str) -> Tensors:
        ids = self._prompt(processor, text or self.tasks[0])
        mask = torch.ones_like(ids)
        pixels = _pixels(processor, image)
        return {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}

    def pen(self, model: Model) -> Pen:
        # BART's configuration forces an end at the last place, which would hide that it was cut.
        model.generation_config.forced_eos_token_id = None
        return Pen(model, _end_ids(model), _pad_id(model), model.config.text_config.vocab_size)

    def given(self, inputs: Tensors) -> int:
        return 1  # the token that starts the decoder

    def _prompt(self, processor: Processor, task: str) -> torch.Tensor:
        """`(1, N)`: places for the picture, then the task in words; the same for every picture."""
        with self._lock:
            if task not in self._prompts:
                blank = np.zeros((8, 8, 3), np.uint8)
                made = processor(images=blank, text=task, return_tensors="pt", **_LAYOUT)
                self._prompts[task] = made["input_ids"]
            return self._prompts[task]


class SmolVlm(_Tokenizing):
    """The text is a question; pictures are cut into tiles, as many as their shape asks for."""

    cuda_dtype = torch.bfloat16
    # A picture is up to 17 tiles of 512x512.
    max_rows = 4
    question = "Describe this picture in one sentence."

    def __init__(self) -> None:
        super().__init__()
        _do_without_num2words()

    def longest(self, config: Any) -> int:
        return int(config.text_config.max_position_embeddings)

    def prompt_tokens(self, processor: Processor, text: str) -> int:
        blank = np.zeros((8, 8, 3), np.uint8)
        return int(self.inputs(processor, blank, text)["input_ids"].shape[1])

    def inputs(self, processor: Processor, image: Image, text: str) -> Tensors:
        _refuse_marks(processor, text)
        content = [{"type": "image"}, {"type": "text", "text": text or self.question}]
        asked = [{"role": "user", "content": content}]
        with self._lock:
            prompt = processor.apply_chat_template(asked, add_generation_prompt=True)
            made = processor(images=image, text=prompt, return_tensors="pt", **_LAYOUT)
        return dict(made)

    def pen(self, model: Model) -> Pen:
        return Pen(model, _end_ids(model), _pad_id(model), model.config.text_config.vocab_size)

    def given(self, inputs: Tensors) -> int:
        return int(inputs["input_ids"].shape[1])


def family_of(name: str) -> Family:
    """The family of a checkpoint's `family`."""
    families: dict[str, type[Family]] = {
        "blip": Blip,
        "florence2": Florence2,
        "smolvlm": SmolVlm,
    }
    return families[name]()


def check_length(family: Family, processor: Processor, config: Any, query: CaptionQuery) -> None:
    """Refuse texts and captions that are longer than what the model was made for.

    Raises:
        BadQueryError: names the field.
    """
    given, longest = family.prompt_tokens(processor, query.text), family.longest(config)
    if given + query.max_tokens > longest:
        at_most = f"expected at most {max(longest - given, 0)} tokens with this text"
        raise BadQueryError("max_tokens", f"{at_most}, found {query.max_tokens}")


# A picture's shape does not always tell which of its sides are the colours: 3x3 pixels, say.
_LAYOUT = {"input_data_format": "channels_last"}


def _pixels(processor: Processor, image: Image) -> torch.Tensor:
    """`(1, 3, h, w)` float, as the model wants them."""
    made = processor.image_processor(images=image, return_tensors="pt", **_LAYOUT)
    pixels: torch.Tensor = made["pixel_values"]
    return pixels


def _refuse_marks(processor: Processor, text: str) -> None:
    """Words that a tokenizer takes for marks of its own, such as `<image>`, are no text."""
    tokenizer = processor.tokenizer
    marks = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    found = sorted(mark for mark in marks if mark in text)
    if found:
        raise BadQueryError("text", f"expected words, found the model's own mark {found[0]!r}")


def _end_ids(model: Model) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    return frozenset(ends if isinstance(ends, list) else [ends])


def _pad_id(model: Model) -> int:
    pad = model.generation_config.pad_token_id
    return -1 if pad is None else int(pad)


def _do_without_num2words() -> None:
    """Its processor asks for the package num2words (LGPL), which only videos would need."""
    from transformers.models.smolvlm import processing_smolvlm

    if processing_smolvlm.num2words is None:
        processing_smolvlm.num2words = str
