"""The fast tier compiled: `torch.compile` for the shapes of steady tracking, wrapped from outside.

Image encoder, memory attention, mask decoder and memory encoder are compiled each with static
shapes, batches padded to a few sizes, on CUDA as CUDA graphs. What has another shape (prompts, the
first frames of an object, more conditioning frames than were warmed up) runs as it did, so that
nothing is ever compiled while a client waits.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import torch

from kinemask_segmenter.engines.sam2.attention import FastAttention
from kinemask_segmenter.engines.sam2.buckets import Compiled, CompileOptions
from kinemask_segmenter.engines.sam2.encoder import FastEncoder
from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.forward import Ask, Forward, Points
from kinemask_segmenter.engines.sam2.memory import (
    POINTER_FRAMES,
    SPATIAL_FRAMES,
    ObjectMemory,
    Output,
)
from kinemask_segmenter.engines.sam2.tokens import Tokens

_log = structlog.get_logger(__name__)
_LONGEST_REASON = 200
_MOST_SHAPES = 256
"""Versions of one function that the compiler may keep; each bucket is one."""


class _CompiledEncoder:
    """Pictures to features; positions and sizes are those of the first picture ever seen."""

    def __init__(self, inner: Callable[[torch.Tensor], list[Encoded]], compiled: Compiled) -> None:
        self._inner = inner
        self._compiled = compiled
        self._like: Encoded | None = None

    def __call__(self, pictures: torch.Tensor) -> list[Encoded]:
        if self._like is None:
            # Also makes what the encoder makes once.
            self._like = self._inner(pictures[:1])[0]
        levels, like = self._compiled(pictures), self._like
        return [
            Encoded([each[n].clone() for each in levels], like.positions, like.sizes)
            for n in range(len(pictures))
        ]


class _CompiledAttention:
    """Memory attention; what is worked out of a frame alone is left to the one it wraps."""

    def __init__(self, inner: FastAttention, compiled: Compiled) -> None:
        self._inner = inner
        self._compiled = compiled

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        for frame in frames:
            self._inner.alone(frame)
        attended = [torch.cat(each) for each in zip(*(f.attended for f in frames), strict=True)]
        memory = torch.cat([each.memory.transpose(0, 1) for each in tokens])
        places = torch.cat([each.positions.transpose(0, 1) for each in tokens])
        found: torch.Tensor = self._compiled(
            *attended, memory, places, pointers=tokens[0].pointer_tokens, sizes=frames[0].sizes
        )
        return found.transpose(0, 1)


class CompiledForward:
    """Builds a compiled `Forward` of an eager one, and warms it up."""

    def __init__(self, eager: Forward, options: CompileOptions | None = None) -> None:
        """`eager` is of the tier `fast`; its weights are shared.

        Raises:
            ValueError: it is of another tier.
        """
        self._eager = eager
        self._options = options or CompileOptions()
        encoder, attention = eager.encoder, eager.attention
        if not isinstance(encoder, FastEncoder) or not isinstance(attention, FastAttention):
            raise ValueError("expected the tier fast: exact is compiled to other bits")
        model = _shallow(eager.model)
        # As they run on a GPU, whatever the device: on a CPU they would start threads.
        encode, attend = encoder.encoded, attention.together
        self._parts = [self._compile(_stacked(encode)), self._compile(_attending(attend))]
        for name in ("sam_mask_decoder", "memory_encoder"):
            part = self._compile(getattr(model, name))
            model._modules[name] = _Called(getattr(model, name), part)
            self._parts.append(part)
        self.forward = Forward(
            model,
            _CompiledAttention(attention, self._parts[1]),
            _CompiledEncoder(encode, self._parts[0]),
            batched=True,
        )

    def warm_up(self) -> None:
        """Compile now, in the thread that will use it.

        Raises:
            Exception: whatever the compiler raises; nothing is to be used then.
        """
        # The compiler gives up a function, without a word, that has more versions than this.
        torch._dynamo.config.recompile_limit = max(
            torch._dynamo.config.recompile_limit, _MOST_SHAPES
        )
        side = self._eager.input_size_px
        image = torch.zeros(3, side, side)
        begun = self._begun(image)
        for part in self._parts:
            part.warming = True
        for bucket in self._options.buckets:
            frames = self.forward.encode([image] * bucket)
            for conditioning in range(1, self._options.conditioning + 1):
                past = _steady(begun, conditioning).past(POINTER_FRAMES + conditioning + 1)
                self.forward.run([Ask(frame, past) for frame in frames], [0] * bucket)
        for part in self._parts:
            part.warming = False

    def _begun(self, image: torch.Tensor) -> Output:
        """What a first click gives, eagerly."""
        (frame,) = self._eager.encode([image])
        click = Points(torch.full((1, 1, 2), 8.0), torch.ones(1, 1, dtype=torch.int32))
        asks = [Ask(frame, None, click.to(self._eager.device))]
        begun: list[Output] = self._eager.run(asks, [0])
        return begun[0]

    def _compile(self, function: Callable[..., Any]) -> Compiled:
        return Compiled(function, self._options, self._eager.device.type == "cuda")


def compiled_or_why(
    eager: Forward, options: CompileOptions, run: Callable[[Callable[[], None]], None]
) -> tuple[Forward | None, str]:
    """The compiled form, None if that failed; and what is to be said of it.

    `run` runs the warm-up in the thread that will use it: CUDA graphs belong to theirs.
    """
    begun_s = time.monotonic()
    try:
        built = CompiledForward(eager, options)
        run(built.warm_up)
    except Exception as error:  # noqa: BLE001 - the compiler raises anything; eager works
        why = str(error).strip().partition("\n")[0][:_LONGEST_REASON]
        _log.warning("compile_failed", error=repr(error))
        return None, f"not compiled, runs eagerly: {type(error).__name__}: {why}"
    kind = "CUDA graphs" if eager.device.type == "cuda" else str(options.backend)
    _log.info("compiled", kind=kind, seconds=round(time.monotonic() - begun_s, 1))
    return built.forward, f"tier fast compiled ({kind})"


def _steady(begun: Output, conditioning: int) -> ObjectMemory:
    """Memory as it is once an object was followed for a while."""
    memory = ObjectMemory(max(2, conditioning))
    for index in range(conditioning):
        memory.condition(index, begun)
    for index in range(conditioning, conditioning + POINTER_FRAMES + 1):
        memory.follow(index, begun)
    assert SPATIAL_FRAMES < POINTER_FRAMES
    return memory


class _Called(torch.nn.Module):
    """A module whose calls are compiled; what else is asked of it is the module's own."""

    def __init__(self, inner: torch.nn.Module, compiled: Compiled) -> None:
        super().__init__()
        self.inner = inner
        self._compiled_call = compiled

    def forward(self, *args: Any, **named: Any) -> Any:
        return self._compiled_call(*args, **named)

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "_compiled_call"):
            return super().__getattr__(name)
        return getattr(super().__getattr__("inner"), name)


def _shallow(model: Any) -> Any:
    """The model with parts that can be exchanged without touching the one it is of."""
    found = copy.copy(model)
    found._modules = dict(model._modules)
    return found


def _stacked(encoder: Callable[[torch.Tensor], list[Encoded]]) -> Callable[..., Any]:
    def levels(pictures: torch.Tensor) -> list[torch.Tensor]:
        """Each level of all pictures: `(B, N_i, 1, C_i)`."""
        found = [each.features for each in encoder(pictures)]
        return [torch.stack(each) for each in zip(*found, strict=True)]

    return levels


def _attending(together: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    def attend(*tensors: torch.Tensor, pointers: int, sizes: list[tuple[int, int]]) -> torch.Tensor:
        """`(B, N, 256)` of what was worked out of each frame, memory and its places."""
        *attended, memory, places = tensors
        numbers = [slice(n, n + 1) for n in range(memory.shape[0])]
        frames = [
            Encoded([attended[0][n]], [], sizes, tuple(each[n] for each in attended))
            for n in numbers
        ]
        tokens = [
            Tokens(memory[n].transpose(0, 1), places[n].transpose(0, 1), pointers) for n in numbers
        ]
        return together(frames, tokens).transpose(0, 1)

    return attend
