"""Token sequences out of a transformers model, by greedy or beam search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from kinemask_captioner.engines.base import CaptionQuery

# The scores of every step are kept until the end; beyond this there are none.
_MAX_SCORE_BYTES = 256 << 20
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Written:
    """The tokens of one picture."""

    ids: tuple[int, ...]
    """Those that were made, without the end."""
    truncated: bool
    score: float | None
    """Mean probability: 0..1; None if the scores would have been too large to keep."""


@dataclass(frozen=True)
class Pen:
    """What a family of models knows about its own sequences."""

    writer: torch.nn.Module
    """The part of the model that generates, and knows how its scores belong to tokens."""
    end_ids: frozenset[int]
    pad_id: int
    vocabulary: int


def generate(
    model: torch.nn.Module,
    pen: Pen,
    inputs: Mapping[str, torch.Tensor],
    prompt_tokens: int,
    query: CaptionQuery,
) -> list[Written]:
    """One entry for each picture of `inputs`, whose tensors are `(B, ...)`.

    `prompt_tokens` of each sequence that comes back were not made but given.
    """
    rows = next(iter(inputs.values())).shape[0] * query.beams
    scored = rows * query.max_tokens * pen.vocabulary * _FLOAT_BYTES <= _MAX_SCORE_BYTES
    output = model.generate(
        **inputs,
        do_sample=False,
        num_beams=query.beams,
        max_new_tokens=query.max_tokens,
        min_new_tokens=query.min_tokens,
        return_dict_in_generate=True,
        output_scores=scored,
    )
    made = output.sequences[:, prompt_tokens:].tolist()  # (B, steps)
    scores = _probabilities(pen, output) if scored else [None] * len(made)
    return [
        _written(pen, ids, given, query.max_tokens) for ids, given in zip(made, scores, strict=True)
    ]


def _probabilities(pen: Pen, output: object) -> list[list[float]]:
    """Each token's probability given those before it, `(B, steps)`."""
    beams = getattr(output, "beam_indices", None)
    logarithms = pen.writer.compute_transition_scores(
        output.sequences,  # type: ignore[attr-defined]  # generate promises no type
        output.scores,  # type: ignore[attr-defined]  # generate promises no type
        beams,
        # A beam search's scores are normalised already.
        normalize_logits=beams is None,
    )
    probabilities: list[list[float]] = logarithms.float().exp().tolist()
    return probabilities


def _written(
    pen: Pen, ids: Sequence[int], probabilities: Sequence[float] | None, max_tokens: int
) -> Written:
    end = next((i for i, token in enumerate(ids) if token in pen.end_ids), None)
    kept = [i for i, token in enumerate(ids[:end]) if token != pen.pad_id]
    score = None
    if probabilities is not None and kept:
        score = sum(probabilities[i] for i in kept) / len(kept)
    truncated = end is None and len(kept) >= max_tokens
    return Written(tuple(ids[i] for i in kept), truncated, score)
