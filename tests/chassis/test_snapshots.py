"""Snapshots come back as they were; damaged, foreign and made-up ones are refused."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
arrays = hnp.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
)


@given(
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    st.dictionaries(st.text(max_size=8), arrays, max_size=4),
)
def test_what_goes_in_comes_out(facts: dict[str, Json], blobs: dict[str, Any]) -> None:
    snapshot = unpack(pack("thing", 3, facts, blobs), "thing", 3)
    assert snapshot.facts == facts
    assert snapshot.arrays.keys() == blobs.keys()
    for name, array in blobs.items():
        found = snapshot.arrays[name]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
        assert found.flags.writeable


BLOB = pack("thing", 3, {"a": 1}, {"x": np.arange(12, dtype=np.float32).reshape(3, 4)})


@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(BLOB) - 1))
    flipped = BLOB[at] ^ data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        unpack(BLOB[:at] + bytes([flipped]) + BLOB[at + 1 :], "thing", 3)


@given(st.binary(max_size=200))
def test_anything_else_is_no_snapshot(blob: bytes) -> None:
    with pytest.raises(SnapshotError):
        unpack(blob, "thing", 3)


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        pytest.param("other", 3, ["other version 3", "thing version 3"], id="another kind"),
        pytest.param("thing", 4, ["thing version 4", "thing version 3"], id="another version"),
    ],
)
def test_a_foreign_snapshot_says_what_was_expected_and_found(
    kind: str, version: int, words: list[str]
) -> None:
    with pytest.raises(SnapshotError) as caught:
        unpack(BLOB, kind, version)
    assert all(word in str(caught.value) for word in words)


def sealed(header: object, rest: bytes = b"") -> bytes:
    """A blob with a right checksum around a made-up content."""
    text = json.dumps(header).encode()
    body = zlib.compress(struct.pack("<I", len(text)) + text + rest)
    return struct.pack("<4sB32s", b"KMSK", 1, hashlib.sha256(body).digest()) + body


def header(*index: object) -> dict[str, object]:
    return {"kind": "thing", "version": 3, "facts": {}, "arrays": list(index)}


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(sealed([1, 2]), id="a list for a header"),
        pytest.param(sealed({}), id="an empty header"),
        pytest.param(sealed({**header(), "version": "x"}), id="a word for a version"),
        pytest.param(sealed(header(["x", "<f4", [2, 2]]), b"123"), id="an array cut short"),
        pytest.param(sealed(header(["x", "<f4", [-1]]), b"1234"), id="a negative size"),
        pytest.param(sealed(header(["x", "<f4", [-1, -1]]), b"1234"), id="two negative sizes"),
        pytest.param(sealed(header(["x", "<f4", [2**40, 2**40]]), b"1234"), id="a vast size"),
        pytest.param(sealed(header(["x", "|O", [1]]), b"12345678"), id="objects"),
        pytest.param(sealed(header(["x", "nonsense", [1]]), b"1"), id="no dtype"),
        pytest.param(sealed(header(["x", "<f4"]), b"1234"), id="no shape"),
        pytest.param(sealed(header(["x", "<f4", "ab"]), b"1234"), id="letters for a shape"),
    ],
)
def test_a_made_up_snapshot_is_refused(blob: bytes) -> None:
    with pytest.raises(SnapshotError):
        unpack(blob, "thing", 3)


def test_a_small_blob_cannot_fill_the_memory() -> None:
    body = zlib.compress(bytes(300 << 20), 1)
    assert len(body) < 4 << 20
    blob = struct.pack("<4sB32s", b"KMSK", 1, hashlib.sha256(body).digest()) + body
    with pytest.raises(SnapshotError, match="bytes"):
        unpack(blob, "thing", 3)


def test_objects_are_not_packed() -> None:
    with pytest.raises(ValueError, match="objects"):
        pack("thing", 3, {}, {"x": np.array([{}])})
