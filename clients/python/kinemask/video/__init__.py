"""Video files in and out: frame-accurate reading, all-or-nothing writing, audio carried over.

reader = VideoReader("in.mp4")
with VideoWriter("out.mp4", like=reader.info, audio_from="in.mp4") as writer:
    for frame in reader:
        writer.write(frame.image, pts=frame.pts, duration=frame.duration)
"""

from kinemask.video._errors import VideoError
from kinemask.video._index import FrameIndex, IndexedFile, index_video
from kinemask.video._info import VideoFrame, VideoInfo
from kinemask.video._reader import VideoReader, probe_video
from kinemask.video._seek import FrameDamagedError, IndexedReader
from kinemask.video._writer import VideoWriter

__all__ = [
    "FrameDamagedError",
    "FrameIndex",
    "IndexedFile",
    "IndexedReader",
    "VideoError",
    "VideoFrame",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "index_video",
    "probe_video",
]
