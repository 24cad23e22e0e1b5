"""Face tokens: whole, signed, and good for an hour."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.snapshots import SnapshotError
from kinemask_faces.crops import CROP_SIDE_PX, cut_crop, difference_hash, read_crop
from kinemask_faces.quality import assess
from kinemask_faces.seen import MAX_CROP_BYTES, SeenFace
from kinemask_faces.tokens import LIFETIME_S, FaceTokens

from tests.faces.faces_kit import ALICE, DiscModel, one_disc

KEY = b"k" * 32
MODEL = DiscModel()


def seen(picture: np.ndarray) -> SeenFace:
    [[face]] = MODEL.detect([one_disc(ALICE)], 0.5)
    vector = MODEL.embed([MODEL.align(picture, face.landmarks_xy)])[0]
    return SeenFace(face, assess(picture, face), vector, cut_crop(picture, face.landmarks_xy))


@pytest.fixture
def alice() -> SeenFace:
    return seen(one_disc(ALICE))


def test_a_token_holds_the_face(alice: SeenFace) -> None:
    token = FaceTokens(KEY).make(alice, "friends", "discs", "r1")
    found = FaceTokens(KEY).read(token, "face", "friends")
    assert (found.gallery_id, found.model, found.revision) == ("friends", "discs", "r1")
    assert found.seen.face.box_xyxy == alice.face.box_xyxy
    assert found.seen.quality == alice.quality and found.seen.crop.jpeg == alice.crop.jpeg
    np.testing.assert_array_equal(found.seen.vector, alice.vector)


@pytest.mark.parametrize("position", [0, 31, 32, 60, -1])
def test_a_changed_byte_is_noticed(alice: SeenFace, position: int) -> None:
    token = bytearray(FaceTokens(KEY).make(alice, "friends", "discs", "r1"))
    token[position] ^= 1
    with pytest.raises(ServiceError, match="this service made"):
        FaceTokens(KEY).read(bytes(token), "face")


def test_another_key_another_gallery_and_another_hour_are_refused(alice: SeenFace) -> None:
    now_s = 1e9
    tokens = FaceTokens(KEY, lambda: now_s)
    token = tokens.make(alice, "friends", "discs", "r1")
    with pytest.raises(ServiceError, match="this service made"):
        FaceTokens(b"x" * 32).read(token, "face")
    with pytest.raises(ServiceError, match="of another"):
        tokens.read(token, "face", "enemies")
    now_s += LIFETIME_S + 1
    with pytest.raises(ServiceError, match="last hour"):
        tokens.read(token, "face")


def test_a_short_key_is_none() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        FaceTokens(b"short")


def test_even_noise_fits_into_a_token() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    loud = seen(noise)
    assert len(loud.crop.jpeg) > MAX_CROP_BYTES
    assert len(FaceTokens(KEY).make(loud, "g" * 200, "m" * 200, "r")) <= 65_536


def test_a_crop_of_a_crop_is_the_same(alice: SeenFace) -> None:
    crop = read_crop(alice.crop.jpeg)
    again = cut_crop(crop, alice.crop.landmarks_xy)
    assert crop.shape == (CROP_SIDE_PX, CROP_SIDE_PX, 3)
    np.testing.assert_allclose(again.landmarks_xy, alice.crop.landmarks_xy, atol=1e-3)
    assert (difference_hash(crop) ^ difference_hash(read_crop(again.jpeg))).bit_count() <= 2


def test_damaged_bytes_are_no_seen_face(alice: SeenFace) -> None:
    with pytest.raises(SnapshotError):
        SeenFace.from_bytes(alice.to_bytes()[:-3])
