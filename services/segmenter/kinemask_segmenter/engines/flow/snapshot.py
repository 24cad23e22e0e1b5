"""A stream's state as bytes and back.

Layout: magic (8 bytes), version (2), SHA-256 of all that follows (32), length of the header (4),
header as JSON, arrays as `.npz` without pickle. Integers are little-endian.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from kinemask_segmenter.engines.base import Prompt
from kinemask_segmenter.engines.flow.appearance import Appearance, Samples
from kinemask_segmenter.engines.flow.follow import Belief, Window
from kinemask_segmenter.engines.flow.layers.saved import LayersHeader, put_layers, take_layers
from kinemask_segmenter.engines.flow.network import Network
from kinemask_segmenter.engines.flow.objects import Followed, Said
from kinemask_segmenter.engines.flow.pixels import Geometry
from kinemask_segmenter.engines.flow.state import StreamState

VERSION = 2
_MAGIC = b"KMFLOW\r\n"
_HEAD = struct.Struct("<8sH32s")
_LENGTH = struct.Struct("<I")

Array = NDArray[np.generic]


class _ObjectHeader(BaseModel):
    object_id: int
    seed: int
    rounds: int
    updates: int
    recent: int
    area_px: float
    last: tuple[int, int, int, int]
    missing: int
    score: float
    said_frame_id: int
    said_box_xyxy: tuple[float, float, float, float] | None
    said_mask: bool
    said_base: bool


class _Header(BaseModel):
    height: int
    width: int
    last_frame_id: int | None
    objects: list[_ObjectHeader]
    layers: LayersHeader


def encode(state: StreamState, geometry: Geometry) -> bytes:
    """The state as a checksummed blob; retained frames are left out."""
    arrays: dict[str, Array] = {} if state.grey is None else {"grey": state.grey}
    header = _Header(
        height=geometry.height,
        width=geometry.width,
        last_frame_id=state.last_frame_id,
        objects=[_put(item, arrays) for item in state.objects.values()],
        layers=put_layers(state.layers, arrays),
    )
    text = header.model_dump_json().encode()
    stored = io.BytesIO()
    np.savez_compressed(stored, allow_pickle=False, **arrays)
    body = _LENGTH.pack(len(text)) + text + stored.getvalue()
    return _HEAD.pack(_MAGIC, VERSION, hashlib.sha256(body).digest()) + body


def decode(blob: bytes, geometry: Geometry) -> StreamState:
    """The state that `encode` wrote for frames of the same size.

    Raises:
        ValueError: not such a blob, damaged, or of another version or size.
    """
    body = _checked_body(blob)
    (length,) = _LENGTH.unpack_from(body)
    start = _LENGTH.size + length
    try:
        header = _Header.model_validate(json.loads(body[_LENGTH.size : start]))
        _check_size(header, geometry)
        with np.load(io.BytesIO(body[start:]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        objects = {item.object_id: _take(item, arrays, geometry) for item in header.objects}
        layers = take_layers(header.layers, arrays)
    except (ValidationError, json.JSONDecodeError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"expected a complete flow snapshot, found one that lacks: {error}"
        ) from error
    return StreamState(header.last_frame_id, arrays.get("grey"), objects, layers)


def _checked_body(blob: bytes) -> bytes:
    if len(blob) < _HEAD.size + _LENGTH.size:
        raise ValueError(
            f"expected a snapshot of at least {_HEAD.size + _LENGTH.size} bytes, found {len(blob)}"
        )
    magic, version, digest = _HEAD.unpack_from(blob)
    if magic != _MAGIC:
        raise ValueError(f"expected a flow snapshot ({_MAGIC!r}), found {magic!r}")
    if version != VERSION:
        raise ValueError(f"expected snapshot version {VERSION}, found version {version}")
    body = blob[_HEAD.size :]
    actual = hashlib.sha256(body).digest()
    if actual != digest:
        raise ValueError(
            f"expected a snapshot with SHA-256 {digest.hex()}, found {actual.hex()}: damaged"
        )
    return body


def _check_size(header: _Header, geometry: Geometry) -> None:
    if (header.width, header.height) != (geometry.width, geometry.height):
        raise ValueError(
            f"expected a snapshot for frames of {geometry.width}x{geometry.height}, "
            f"found one for {header.width}x{header.height}"
        )


def _put(item: Followed, arrays: dict[str, Array]) -> _ObjectHeader:
    key, network, said = f"{item.object_id}/", item.look.network, item.said
    for name, parts in (("w", network.weights), ("m", network.first), ("v", network.second)):
        arrays.update({f"{key}{name}{index}": part for index, part in enumerate(parts)})
    for index, bank in enumerate([item.look.prompted, *item.look.recent]):
        arrays[f"{key}features{index}"] = bank.features
        arrays[f"{key}target{index}"] = bank.target
    arrays[key + "level"] = item.belief.level
    arrays[key + "points"], arrays[key + "positive"] = said.prompt.points_xy, said.prompt.positive
    if said.prompt.mask is not None:
        arrays[key + "mask"] = np.packbits(said.prompt.mask)
    if said.base is not None:
        arrays[key + "base"] = np.packbits(said.base)
    return _object_header(item)


def _object_header(item: Followed) -> _ObjectHeader:
    belief, said, last = item.belief, item.said, item.belief.last
    return _ObjectHeader(
        object_id=item.object_id,
        seed=item.look.seed,
        rounds=item.look.rounds,
        updates=item.look.network.updates,
        recent=len(item.look.recent),
        area_px=belief.area_px,
        last=(last.x0, last.y0, last.x1, last.y1),
        missing=belief.missing,
        score=belief.score,
        said_frame_id=said.frame_id,
        said_box_xyxy=said.prompt.box_xyxy,
        said_mask=said.prompt.mask is not None,
        said_base=said.base is not None,
    )


def _take(
    item: _ObjectHeader, arrays: Mapping[str, NDArray[np.generic]], geometry: Geometry
) -> Followed:
    key = f"{item.object_id}/"
    weights, first, second = (
        [arrays[f"{key}{name}{index}"].astype(np.float32) for index in range(6)] for name in "wmv"
    )
    network = Network(weights, first, second, item.updates)
    banks = [
        Samples(
            arrays[f"{key}features{index}"].astype(np.uint8),
            arrays[f"{key}target{index}"].astype(np.bool_),
        )
        for index in range(item.recent + 1)
    ]
    look = Appearance(network, banks[0], banks[1:], item.rounds, item.seed)
    belief = Belief(
        arrays[key + "level"].astype(np.uint8),
        item.area_px,
        Window(*item.last),
        item.missing,
        item.score,
    )
    return Followed(item.object_id, look, belief, _take_said(item, arrays, geometry))


def _take_said(
    item: _ObjectHeader, arrays: Mapping[str, NDArray[np.generic]], geometry: Geometry
) -> Said:
    key = f"{item.object_id}/"
    mask = base = None
    if item.said_mask:
        mask = _unpack(arrays[key + "mask"], geometry.height, geometry.width)
    if item.said_base:
        base = _unpack(arrays[key + "base"], geometry.work_height, geometry.work_width)
    prompt = Prompt(
        item.object_id,
        arrays[key + "points"].astype(np.float32),
        arrays[key + "positive"].astype(np.bool_),
        item.said_box_xyxy,
        mask,
    )
    return Said(item.said_frame_id, prompt, base)


def _unpack(packed: NDArray[np.generic], height: int, width: int) -> NDArray[np.bool_]:
    bits = np.unpackbits(packed.astype(np.uint8), count=height * width)
    return bits.reshape(height, width).astype(np.bool_)
