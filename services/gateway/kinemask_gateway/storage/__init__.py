"""Where bytes are kept: a local folder, or S3 by URL."""

from kinemask_gateway.storage.objects import ObjectMissingError, ObjectStore, open_store

__all__ = ["ObjectMissingError", "ObjectStore", "open_store"]
