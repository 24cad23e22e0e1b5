"""Stacks of fake services: who starts, who knows whom, who leaves when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from kinemask.cli.up import Stack, StackError
from kinemask.cli.up import stack as stack_module
from kinemask.cli.up.health import HealthProbe

from tests.cli.conftest import Journal, assert_all_gone

MakeStack = Callable[..., Stack]


def test_the_gateway_is_told_where_each_replica_is(make_stack: MakeStack, journal: Journal) -> None:
    with make_stack(["segmenter", "gateway"], {"segmenter": 2}) as stack:
        addresses = stack.addresses("segmenter")
        assert len(set(addresses)) == 2
        journal.wait_for("gateway", "listening")
    told = journal.texts("gateway")
    assert f"KINEMASK_SEGMENTER_ADDRESSES={','.join(addresses)}" in told
    # Nothing at all would mean the default address, and so perhaps somebody else's detector.
    assert "KINEMASK_DETECTOR_ADDRESSES=," in told


def test_every_process_is_ready_inside_and_gone_after(make_stack: MakeStack) -> None:
    with make_stack(["detector", "tracker", "gateway"]) as stack:
        process_ids = stack.process_ids()
        assert len(process_ids) == 3
        for replica in stack.replicas:
            with HealthProbe(replica.address) as probe:
                assert probe.is_serving()
    assert_all_gone(process_ids)


def test_the_gateway_starts_last_and_leaves_first(make_stack: MakeStack, journal: Journal) -> None:
    with make_stack(["gateway", "detector", "tracker"]):
        pass
    order = [(line.service, line.text) for line in journal.lines]
    inner = ("detector", "tracker")
    assert all(order.index((n, "listening")) < order.index(("gateway", "listening")) for n in inner)
    assert all(order.index(("gateway", "stopped")) < order.index((n, "left")) for n in inner)


def test_a_process_that_dies_is_started_again_on_its_address(
    make_stack: MakeStack, journal: Journal
) -> None:
    with make_stack(["segmenter"]) as stack:
        address = stack.addresses("segmenter")
        [before] = stack.process_ids("segmenter")
        os.kill(before, signal.SIGKILL)
        journal.wait_for("segmenter", "listening", times=2)
        [after] = stack.process_ids("segmenter")
        assert after != before and stack.addresses("segmenter") == address
    assert "was ended by SIGKILL; starts again in 0.5 s" in journal.texts("segmenter")


def test_one_that_cannot_start_stops_all_and_shows_its_log(
    make_stack: MakeStack, journal: Journal
) -> None:
    stack = make_stack(["detector", "tracker"], FAKE_FAILS="1")
    with pytest.raises(StackError, match="ended while it started") as caught:
        stack.start()
    assert "the weights are not there" in str(caught.value)
    assert stack.process_ids() == []
    assert sum("starts on" in line.text for line in journal.lines) == 2, "it was started again"


def test_one_that_never_gets_ready_is_given_up(make_stack: MakeStack) -> None:
    stack = make_stack(["detector"], FAKE_NEVER_READY="1")
    stack._start_timeout_s = 0.0
    with pytest.raises(StackError, match="detector was not ready in time"):
        stack.start()
    assert stack.process_ids() == []


def test_one_that_does_not_leave_in_its_grace_is_killed(
    make_stack: MakeStack, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "_GRACE_SLACK_S", 0.0)
    stack = make_stack(["detector"], FAKE_STUBBORN="1")
    stack._grace_s = 0.5
    with stack:
        process_ids = stack.process_ids()
    assert_all_gone(process_ids)
    assert "was ended by SIGKILL" in journal.texts("detector")


def test_an_exception_inside_the_block_leaves_nothing_behind(make_stack: MakeStack) -> None:
    with pytest.raises(ZeroDivisionError), make_stack(["detector"]) as stack:
        process_ids = stack.process_ids()
        _ = 1 / 0
    assert_all_gone(process_ids)


def test_a_stack_may_be_started_again(make_stack: MakeStack) -> None:
    stack = make_stack(["detector", "gateway"])
    for _ in range(2):
        with stack:
            assert stack.gateway_address
    with pytest.raises(LookupError, match="runs no gateway"):
        _ = stack.gateway_address
    stack.stop()
