"""Programs are started while rpcs run."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import kinemask_chassis  # first, as in every service's __main__
import asyncio, subprocess, grpc

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = asyncio.create_task(call(channel))
        for _ in range(5):
            # A function to call makes it fork; so does another user, as PostgreSQL's.
            await asyncio.to_thread(subprocess.run, ["true"], preexec_fn=lambda: None, check=True)
        calls.cancel()
    await server.stop(0)

async def call(channel):
    while True:
        try:
            await channel.unary_unary("/no/such")(b"")
        except grpc.RpcError:
            pass

asyncio.run(main())
"""


def test_grpc_does_not_meddle_with_programs_that_are_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "fork" not in done.stderr
