"""Objects that touch, as layers: each keeps the look and outline it had before it was touched.

After Wang and Adelson, "Representing moving images with layers" (IEEE Trans. Image Processing 3,
1994): a layer is a picture that moves as a whole, an outline, and a place in depth. While an object
is near another one, its picture and outline are gathered (`template`); while they touch, both are
moved along (`alignment`) and every pixel goes to the layer that explains it (`contest`). `Layers`
is what a stream holds of it.
"""

from __future__ import annotations

from kinemask_segmenter.engines.flow.layers.layers import Layers

__all__ = ["Layers"]
