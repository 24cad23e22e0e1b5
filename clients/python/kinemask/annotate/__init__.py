"""Interactive work on a stored video: `client.annotate`.

session = client.annotate.open(video_id)
client.annotate.prompt(session.session_id, 0, [Prompt(points=[(320, 200)])], label="ball")
client.annotate.propagate(session.session_id, on_progress=lambda p: print(p.fraction))
for frame in client.annotate.masks(session.session_id):
    print(frame.index, [one.area_px for one in frame.objects])
client.annotate.close(session.session_id)
"""

from kinemask.annotate._aio import AsyncAnnotations
from kinemask.annotate._api import Annotations
from kinemask.annotate.types import (
    AnnotatedFrame,
    Overlay,
    Prompted,
    PropagationProgress,
    Session,
    SessionObject,
    SessionOptions,
    SessionPrompt,
)

__all__ = [
    "AnnotatedFrame",
    "Annotations",
    "AsyncAnnotations",
    "Overlay",
    "Prompted",
    "PropagationProgress",
    "Session",
    "SessionObject",
    "SessionOptions",
    "SessionPrompt",
]
