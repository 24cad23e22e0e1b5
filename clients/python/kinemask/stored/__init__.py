"""Stored videos and the jobs on them: `client.videos` and `client.jobs`.

video = client.videos.upload("clip.mp4")
frame = client.videos.frame(video.video_id, index=100)
for job in client.jobs.watch(job_id):
    print(job.progress.fraction)
render = client.jobs.render(job_id, ["blur"])
client.jobs.wait(render.job_id)
client.jobs.download(render.job_id, "safe.mp4")
"""

from kinemask.stored.jobs import Jobs
from kinemask.stored.rendering import ExportOptions, RenderOptions, RenderRule
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
    "ExportOptions",
    "Job",
    "JobFile",
    "JobProgress",
    "Jobs",
    "RenderOptions",
    "RenderRule",
    "StoredFrame",
    "StoredVideo",
    "VideoFacts",
    "Videos",
]
