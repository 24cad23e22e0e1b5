"""Every service as a process of its own, under traffic: SIGTERM, and clients that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import kinemask
import numpy as np
import pytest

from benchmarks.harness import free_port
from benchmarks.moving import moving_frames, object_box
from tests.stream_kit import eventually

WIDTH, HEIGHT = 160, 120
GRACE_S = 10


@dataclass
class Running:
    """One service process."""

    process: subprocess.Popen[bytes]
    address: str
    metrics: str

    def active_streams(self) -> float:
        with urllib.request.urlopen(self.metrics, timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        values = [line for line in lines if line.startswith("kinemask_active_streams{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in values if "Health" not in line)


@contextmanager
def started(name: str, **environment: str) -> Iterator[Running]:
    port, metrics_port = free_port(), free_port()
    settings = {
        "KINEMASK_PORT": str(port),
        "KINEMASK_METRICS_PORT": str(metrics_port),
        "KINEMASK_DRAIN_GRACE_S": str(GRACE_S),
        "KINEMASK_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", f"kinemask_{name}"], env={**os.environ, **settings, **environment}
    )
    try:
        yield Running(process, f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics")
    finally:
        process.kill()
        process.wait()


@contextmanager
def everything(replicas: int = 2) -> Iterator[dict[str, list[Running]]]:
    """Two of each service, and one gateway."""
    with ExitStack() as stack:
        running = {
            name: [stack.enter_context(started(name)) for _ in range(replicas)]
            for name in ("detector", "segmenter", "tracker")
        }
        addresses = {
            f"KINEMASK_{name.upper()}_ADDRESSES": ",".join(r.address for r in each)
            for name, each in running.items()
        }
        running["gateway"] = [stack.enter_context(started("gateway", **addresses))]
        for each in running.values():
            for one in each:
                with kinemask.Client(one.address) as client:
                    client.wait_ready(60)
        yield running


def frames(count: int) -> list[np.ndarray]:
    return list(moving_frames(count, WIDTH, HEIGHT))


def python_client(script: str, address: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, address], stdout=subprocess.PIPE)


async def traffic(address: str, until: asyncio.Event, seen: list[kinemask.LiveFrame]) -> None:
    """A live stream with words and a prompt, frame after frame until told to stop."""
    config = kinemask.LiveConfig(detect=kinemask.DetectStage(["face"], every_n_frames=3))
    pictures = frames(40)
    async with kinemask.AsyncClient(address) as client, client.live(config) as stream:
        stream.prompt(1, box=object_box(WIDTH, HEIGHT), frame_id=0)

        async def send() -> None:
            number = 0
            while not until.is_set():
                await stream.send(pictures[number % len(pictures)])
                number += 1
            await stream.finish()

        sender = asyncio.create_task(send())
        async for answer in stream:
            seen.append(answer)
        await sender


@pytest.mark.parametrize("name", ["segmenter", "tracker", "detector"])
async def test_sigterm_under_traffic_exits_0_and_the_stream_goes_on(name: str) -> None:
    with everything() as running:
        stop, seen = asyncio.Event(), list[kinemask.LiveFrame]()
        task = asyncio.create_task(traffic(running["gateway"][0].address, stop, seen))
        await eventually(lambda: len(seen) >= 10, 60)
        leaving = running[name][0].process
        leaving.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(leaving.wait, GRACE_S + 5) == 0
        after = len(seen)
        await eventually(lambda: len(seen) >= after + 10, 60)
        stop.set()
        await task
        assert [f.frame_id for f in seen] == list(range(len(seen)))
        assert all(f.ok and 1 in {o.object_id for o in f.objects} for f in seen)


async def test_sigterm_to_the_gateway_exits_0_and_tells_the_client() -> None:
    with everything(replicas=1) as running:
        stop, seen = asyncio.Event(), list[kinemask.LiveFrame]()
        gateway = running["gateway"][0]
        task = asyncio.create_task(traffic(gateway.address, stop, seen))
        await eventually(lambda: len(seen) >= 10, 60)
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.process.wait, GRACE_S + 5) == 0
        assert [f.frame_id for f in seen] == list(range(len(seen)))
        # Nobody else is there to go on with: the client is still looking for one.
        task.cancel()
        with suppress(asyncio.CancelledError, kinemask.KinemaskError):
            await task


async def test_a_client_that_is_killed_frees_its_slot_within_a_second() -> None:
    script = textwrap.dedent(
        """
        import sys
        import kinemask
        import numpy as np
        config = kinemask.LiveConfig()
        with kinemask.Client(sys.argv[1]) as client, client.live(config) as stream:
            stream.prompt(1, box=(10, 10, 40, 40), frame_id=0)
            while True:
                stream.send(np.zeros((120, 160, 3), np.uint8))
                print(next(iter(stream)).frame_id, flush=True)
        """
    )
    with everything(replicas=1) as running:
        gateway, segmenter = running["gateway"][0], running["segmenter"][0]
        client = python_client(script, gateway.address)
        assert client.stdout is not None
        for _ in range(3):
            await asyncio.to_thread(client.stdout.readline)
        assert gateway.active_streams() == 1
        assert segmenter.active_streams() == 1
        client.kill()
        client.wait()
        # A second is the contract's; a busy machine gets a little more to notice.
        await eventually(
            lambda: gateway.active_streams() == 0 and segmenter.active_streams() == 0, 3
        )
