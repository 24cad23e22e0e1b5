"""What every propagation of a process works with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kinemask_gateway.annotations.calls import SegmenterCalls
from kinemask_gateway.annotations.held import HeldSessions
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connects


@dataclass(frozen=True)
class Tools:
    """Shared by all of them."""

    database: Connects
    library: Library
    masks: MaskStore
    calls: SegmenterCalls
    held: HeldSessions
    leaving: asyncio.Event
    """Set when this replica leaves."""
    max_message_bytes: int
