"""Models' weights on this machine: which are known, which are here, fetching and checking them.

A part of the client package, not of the services: weights are fetched before any service starts,
and perhaps on another machine. Only `pull` needs the extra `kinemask[models]`.
"""

from kinemask.models.manifest import KNOWN, KnownModel, known_model, known_models
from kinemask.models.pulling import pull
from kinemask.models.store import LOCK_FILE, Lock, ModelError, Store

__all__ = [
    "KNOWN",
    "LOCK_FILE",
    "KnownModel",
    "Lock",
    "ModelError",
    "Store",
    "known_model",
    "known_models",
    "pull",
]
