"""Video object segmentation without weights: a tiny per-object classifier, flow and a soft prior.

Everything that is learnt is learnt from the user's prompt, so nothing is downloaded.
"""

from __future__ import annotations

from kinemask_segmenter.engines.flow.engine import FlowEngine

__all__ = ["FlowEngine"]
