"""The services behind the gateway: which replicas there are, and how they are reached."""

from kinemask_gateway.downstream.pool import Downstream, ReplicaPool

__all__ = ["Downstream", "ReplicaPool"]
