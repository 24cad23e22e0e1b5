"""Stored videos and the jobs on them: `client.videos` and `client.jobs`.

video = client.videos.upload("clip.mp4")
frame = client.videos.frame(video.video_id, index=100)
job_id = client.jobs.track(video.video_id, ["faces"]).job_id
for job in client.jobs.watch(job_id):
    print(job.progress.fraction)
render = client.jobs.render(job_id, ["blur"])
client.jobs.wait(render.job_id)
client.jobs.download(render.job_id, "safe.mp4")
"""

from kinemask.stored.jobs import Jobs
from kinemask.stored.rendering import ExportOptions, RenderOptions, RenderRule
from kinemask.stored.tracking import LeakGuard, TrackedFrame, TrackOptions
from kinemask.stored.types import (
    AudioTrack,
    DamagedSpan,
    FramesAtRisk,
    Job,
    JobFile,
    JobObject,
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
    "FramesAtRisk",
    "Job",
    "JobFile",
    "JobObject",
    "JobProgress",
    "Jobs",
    "LeakGuard",
    "RenderOptions",
    "RenderRule",
    "StoredFrame",
    "StoredVideo",
    "TrackOptions",
    "TrackedFrame",
    "VideoFacts",
    "Videos",
]
