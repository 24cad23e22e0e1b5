"""What the gallery counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class RecallCounters:
    """A `SearchObserver`: how often an index finds what an exact search does.

    Recall at 1 over any time is the growth of the hits over that of the faces.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._faces = Counter(
            "kinemask_faces_recall_sampled",
            "Faces that were searched by an index and exactly, to compare.",
            registry=registry,
        )
        self._hits = Counter(
            "kinemask_faces_recall_hits",
            "Of those, faces whose best match by the index was as good as exactly.",
            registry=registry,
        )

    def recall_sampled(self, hits: int, faces: int) -> None:
        """Of so many faces, so many had the same best match by the index as exactly."""
        self._hits.inc(hits)
        self._faces.inc(faces)
