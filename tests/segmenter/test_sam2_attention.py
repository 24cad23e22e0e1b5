"""Attention by other roads than PyTorch's: in tiles, and to memory without keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="needs the extra kinemask-segmenter[sam2]")
pytest.importorskip("sam2", reason="needs the extra kinemask-segmenter[sam2]")

import torch
from kinemask_segmenter.engines.sam2.attention import _rotated
from kinemask_segmenter.engines.sam2.crossing import Reader, Remembered
from kinemask_segmenter.engines.sam2.team import Team
from kinemask_segmenter.engines.sam2.tiles import attend
from sam2.modeling.position_encoding import compute_axial_cis


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class _Case:
    """Queries, a layer's key projection, memory of `maps` maps and pointers."""

    def __init__(self, size: tuple[int, int], maps: int, pointers: int, heat: float = 1.0) -> None:
        rows, columns = size
        self.size, self.pointers = size, pointers
        self.turns = compute_axial_cis(256, columns, rows)
        asked = _rotated(_numbers(1, rows * columns, 256, seed=1), self.turns)[0]
        self.queries = asked * heat / 16
        self.weight, self.bias = _numbers(256, 64, seed=2) / 8, _numbers(256, seed=3)
        self.memory = _numbers(maps * rows * columns + pointers, 64, seed=4)
        self.keyed = self.memory + _numbers(*self.memory.shape, seed=5)

    def read(self) -> torch.Tensor:
        remembered = Remembered(self.memory, self.keyed, self.pointers, self.size)
        reader = Reader(self.weight, self.bias, self.turns, self.size, Team())
        return reader.read(self.queries, remembered)

    def expected(self) -> torch.Tensor:
        """By making all keys, in double precision."""
        keys = self.keyed @ self.weight.t() + self.bias
        placed = len(keys) - self.pointers
        maps = keys[:placed].view(-1, len(self.turns), 256)
        keys = torch.cat([_rotated(maps, self.turns).flatten(0, 1), keys[placed:]])
        weights = torch.softmax(self.queries.double() @ keys.double().t(), -1)
        return (weights @ self.memory.double()).float()


@pytest.mark.parametrize(
    ("size", "maps", "pointers"),
    [
        pytest.param((8, 8), 1, 4, id="smaller than a block"),
        pytest.param((32, 32), 3, 8, id="whole blocks"),
        pytest.param((20, 37), 2, 4, id="blocks cut at both borders, rows are not columns"),
        pytest.param((16, 16), 7, 0, id="no pointers"),
    ],
)
def test_memory_is_read_without_keys(
    threads: None, size: tuple[int, int], maps: int, pointers: int
) -> None:
    case = _Case(size, maps, pointers)
    torch.testing.assert_close(case.read(), case.expected(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("pointers", [4, 0])
def test_memory_is_read_where_scores_overflow(pointers: int) -> None:
    case = _Case((16, 16), 2, pointers, heat=300.0)
    case.keyed[300] *= 20
    torch.testing.assert_close(case.read(), case.expected(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    "dtype", [pytest.param(torch.float32, id="whole"), pytest.param(torch.bfloat16, id="tiles")]
)
def test_attention_survives_scores_that_overflow(dtype: torch.dtype) -> None:
    queries, keys = torch.full((3, 4), 9.0), torch.zeros(1500, 4)
    keys[1200] = 30.0  # a later tile's score is higher by 1080
    values = torch.arange(1500.0)[:, None] % 128
    queries, keys, values = (each[None].to(dtype) for each in (queries, keys, values))
    found = attend(queries, keys, values)[0]
    assert torch.equal(found.float(), torch.full((3, 1), float(1200 % 128)))


def test_attention_in_tiles_is_attention(threads: None) -> None:
    queries, keys, values = (_numbers(2, 1300, 32, seed=seed) for seed in range(3))
    low, keys_low, values_low = (each.to(torch.bfloat16) for each in (queries / 6, keys, values))
    found = attend(low, keys_low, values_low).float()
    weights = torch.softmax(queries / 6 @ keys.transpose(1, 2), -1)
    torch.testing.assert_close(found, weights @ values, atol=0.02, rtol=0.02)


def test_a_team_shares_work_and_gives_threads_back(threads: None) -> None:
    team, met = Team(), threading.Barrier(2, timeout=30)

    def work(number: int) -> tuple[int, int, bool]:
        met.wait()  # only if two work at once
        return number, torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert team.map(work, range(20)) == [(number, 1, True) for number in range(20)]
    assert torch.get_num_threads() == 2


def test_a_team_raises_and_gives_threads_back(threads: None) -> None:
    def work(number: int) -> float:
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        Team().map(work, [1, 0, *range(2, 20)])
    assert torch.get_num_threads() == 2


def test_a_team_follows_the_number_of_threads(threads: None) -> None:
    team = Team()
    assert team.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    torch.set_num_threads(3)
    assert team.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    assert team._size == 3


def test_a_few_pieces_are_not_shared(threads: None) -> None:
    assert Team().map(lambda _: threading.get_ident(), range(2)) == [threading.get_ident()] * 2
