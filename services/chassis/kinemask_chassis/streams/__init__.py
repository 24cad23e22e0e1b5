"""The stream contract, once, for every bidirectional rpc."""

from kinemask_chassis.streams.handler import StreamHandler, StreamObserver, StreamPlan
from kinemask_chassis.streams.queue import Policy
from kinemask_chassis.streams.server import StreamServer
from kinemask_chassis.streams.terms import StreamLimits, StreamTerms
from kinemask_chassis.streams.walks import Walk

__all__ = [
    "Policy",
    "StreamHandler",
    "StreamLimits",
    "StreamObserver",
    "StreamPlan",
    "StreamServer",
    "StreamTerms",
    "Walk",
]
