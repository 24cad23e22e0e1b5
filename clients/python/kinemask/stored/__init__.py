"""Stored videos and the jobs on them: `client.videos` and `client.jobs`.

video = client.videos.upload("clip.mp4")
frame = client.videos.frame(video.video_id, index=100)
for job in client.jobs.watch(job_id):
    print(job.progress.fraction)
"""

from kinemask.stored.jobs import Jobs
from kinemask.stored.types import (
    AudioTrack,
    DamagedSpan,
    Job,
    JobFile,
    JobProgress,
    StoredFrame,
    StoredVideo,
    VideoFacts,
)
from kinemask.stored.videos import Videos

__all__ = [
    "AudioTrack",
    "DamagedSpan",
    "Job",
    "JobFile",
    "JobProgress",
    "Jobs",
    "StoredFrame",
    "StoredVideo",
    "VideoFacts",
    "Videos",
]
