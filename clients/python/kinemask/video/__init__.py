"""Video files in and out: frame-accurate reading, all-or-nothing writing, audio carried over.

reader = VideoReader("in.mp4")
with VideoWriter("out.mp4", like=reader.info, audio_from="in.mp4") as writer:
    for frame in reader:
        writer.write(frame.image, pts=frame.pts, duration=frame.duration)
"""

from kinemask.video._chunks import (
    ChunkEncoder,
    ChunkJoiner,
    CopiedAudio,
    EncodedChunk,
    encoder_parameters,
)
from kinemask.video._encoder import EncoderSettings
from kinemask.video._errors import VideoError
from kinemask.video._index import FrameIndex, IndexedFile, index_video
from kinemask.video._info import VideoFrame, VideoInfo
from kinemask.video._planar import PlanarFrame, black_frame
from kinemask.video._prefetch import prefetch
from kinemask.video._reader import VideoReader, probe_video
from kinemask.video._seek import FrameDamagedError, IndexedReader
from kinemask.video._writer import VideoWriter

__all__ = [
    "ChunkEncoder",
    "ChunkJoiner",
    "CopiedAudio",
    "EncodedChunk",
    "EncoderSettings",
    "FrameDamagedError",
    "FrameIndex",
    "IndexedFile",
    "IndexedReader",
    "PlanarFrame",
    "VideoError",
    "VideoFrame",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "black_frame",
    "encoder_parameters",
    "index_video",
    "prefetch",
    "probe_video",
]
