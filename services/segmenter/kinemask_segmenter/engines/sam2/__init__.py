"""SAM 2 as a stream: frames one at a time, bounded state, the official arithmetic.

Needs the extra `kinemask-segmenter[sam2]` (torch, torchvision, sam2). The parts here take and give
tensors; nothing in them opens a network connection or knows of messages.
"""
