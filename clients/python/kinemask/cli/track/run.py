"""One run: frames out, answers in, effects drawn, files written."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kinemask.cli.failures import FAILED, CommandError
from kinemask.cli.track.captions import FrameCaptions
from kinemask.cli.track.draw import Painter
from kinemask.cli.track.feed import Feed
from kinemask.cli.track.lookahead import Lookahead, frames_ahead
from kinemask.cli.track.mask_file import MaskFile, mask_file
from kinemask.cli.track.progress import Advance, progress
from kinemask.cli.track.report import TrackReport
from kinemask.cli.track.request import TrackRequest
from kinemask.cli.track.tally import Sum, Tally

if TYPE_CHECKING:
    from kinemask.client import Client, LiveStream
    from kinemask.config import LiveConfig, StreamInfo
    from kinemask.effects import NameRule
    from kinemask.results import LiveFrame
    from kinemask.types import RgbImage
    from kinemask.video import VideoFrame, VideoInfo, VideoReader, VideoWriter


class TrackRun:
    """The back half of the pipeline: takes answers in order and writes what becomes of them.

    Invariant: files appear at their places only if every frame was answered and written.
    """

    def __init__(self, request: TrackRequest, reader: VideoReader) -> None:
        self._request = request
        self._reader = reader
        self._painter = Painter(request.effects, _rule(request))
        info = reader.info
        ahead = frames_ahead(info.width, info.height) if request.names else 0
        self._ahead = ahead
        self._lookahead = Lookahead(ahead)
        self._tally = Tally()
        self._drawing = Sum()
        self._writing = Sum()
        self._first_pts: int | None = None

    def run(self, client: Client, wanted: bool | None, allow_empty: bool) -> TrackReport:
        """Do it; `wanted` says whether progress is shown.

        Raises:
            CommandError: a prompt was refused, a frame could not be worked on, or a service that
                is needed is not there.
            KinemaskError: the stream failed.
            VideoError: the video is damaged, or the output cannot be written.
        """
        info = self._reader.info
        _check_people(client, self._request)
        begun_s = time.perf_counter()
        with ExitStack() as beside, client.live(_config(self._request)) as stream:
            captions = self._captions(beside, client)
            opened = stream.info or stream.open()
            _check_stages(opened)
            feed = self._feed(stream, opened)
            with ExitStack() as files, progress(self._total(info), wanted) as advance:
                masks = files.enter_context(mask_file(self._request.masks, info))
                writer = self._writer(files, info)
                with feed:
                    self._take_all(feed, writer, masks, captions, advance)
                closing_s = time.perf_counter()
                files.close()
                self._writing.total_ms += (time.perf_counter() - closing_s) * 1e3
            described = captions.finish() if captions is not None else []
        seconds = time.perf_counter() - begun_s
        stages = self._stages_ms(feed)
        return TrackReport(
            self._request, info, opened, self._tally, seconds, stages, allow_empty, described
        )

    def _captions(self, beside: ExitStack, client: Client) -> FrameCaptions | None:
        if not self._request.caption_every:
            return None
        every, model = self._request.caption_every, self._request.models.captioner
        captions = beside.enter_context(FrameCaptions(client, every, model))
        captions.check()
        return captions

    def _feed(self, stream: LiveStream, opened: StreamInfo) -> Feed:
        request = self._request
        return Feed(
            self._reader,
            stream,
            opened.window,
            request.objects,
            request.start,
            request.end,
            self._ahead,
        )

    def _writer(self, files: ExitStack, info: VideoInfo) -> VideoWriter | None:
        from kinemask.video import VideoWriter

        if self._request.output is None:
            return None
        with_audio = self._request.audio and not self._request.is_cut
        audio_from = self._request.video if with_audio and info.has_audio else None
        return files.enter_context(
            VideoWriter(self._request.output, like=info, audio_from=audio_from)
        )

    def _take_all(
        self,
        feed: Feed,
        writer: VideoWriter | None,
        masks: MaskFile | None,
        captions: FrameCaptions | None,
        advance: Advance,
    ) -> None:
        from kinemask.errors import KinemaskError

        try:
            for answer in feed.stream:
                self._take(feed, answer, writer, masks, captions)
                advance()
            for frame, named in self._lookahead.rest():
                self._finish(feed, frame, named, writer)
        except KinemaskError:
            if feed.error is None:  # else that is what ended the stream
                raise
        if feed.error is not None:
            raise feed.error
        self._check_end()

    def _take(
        self,
        feed: Feed,
        answer: LiveFrame,
        writer: VideoWriter | None,
        masks: MaskFile | None,
        captions: FrameCaptions | None,
    ) -> None:
        refused = feed.refused()
        if refused is not None:
            raise refused
        frame = feed.take()
        if answer.error is not None:
            # A frame without an answer is a frame on which nothing would be covered.
            raise CommandError(
                f"frame {frame.index} could not be worked on, so nothing was written: "
                f"{answer.error.message}"
            )
        self._tally.add(answer)
        if masks is not None:
            masks.add(frame, answer)
        if captions is not None:
            captions.add(frame)
        for ready, named in self._lookahead.add(frame, answer):
            self._finish(feed, ready, named, writer)

    def _finish(
        self, feed: Feed, frame: VideoFrame, answer: LiveFrame, writer: VideoWriter | None
    ) -> None:
        if writer is not None:
            self._write(frame, self._drawn(frame, answer), writer)
        feed.release()

    def _drawn(self, frame: VideoFrame, answer: LiveFrame) -> RgbImage:
        begun_s = time.perf_counter()
        image = self._painter.draw(frame.image, answer)
        self._drawing.add((time.perf_counter() - begun_s) * 1e3)
        return image

    def _write(self, frame: VideoFrame, image: RgbImage, writer: VideoWriter) -> None:
        begun_s = time.perf_counter()
        if self._first_pts is None:
            # A part of a video begins at once, not where it stood in the whole.
            self._first_pts = frame.pts if self._request.is_cut else 0
        writer.write(image, pts=frame.pts - self._first_pts, duration=frame.duration)
        self._writing.add((time.perf_counter() - begun_s) * 1e3)

    def _total(self, info: VideoInfo) -> int | None:
        end = self._request.end
        if info.frame_count is None:
            return None if end is None else end - self._request.start
        last = info.frame_count if end is None else min(end, info.frame_count)
        return max(last - self._request.start, 0)

    def _check_end(self) -> None:
        """Raises CommandError if the run cannot be called one."""
        self._tally.finish()
        if not self._tally.frames:
            raise CommandError(f"{self._request.video}: no frame from {self._request.start} on")
        if self._tally.detector_never_answered:
            why = self._tally.degraded["detect"].why
            raise CommandError(f"the detector failed on every frame: {why}", code=FAILED)

    def _stages_ms(self, feed: Feed) -> dict[str, float]:
        frames = max(self._tally.frames, 1)
        means = {name: found.mean_ms for name, found in self._tally.inside.items()}
        stages = {name: found.mean_ms for name, found in self._tally.stages.items()}
        named = {
            name: stages[name] for name in ("detect", "track", "segment", "faces") if name in stages
        }
        drawn = {"effect": self._drawing.mean_ms, "video encode": self._writing.total_ms / frames}
        return {
            "video decode": feed.times.decode_ms / frames,
            "jpeg encode": feed.times.jpeg_ms / frames,
            **means,
            **named,
            **(drawn if self._request.output is not None else {}),
        }


def _config(request: TrackRequest) -> LiveConfig:
    from kinemask.config import DetectStage, FacesStage, LiveConfig, SegmentStage, TrackStage

    segment = SegmentStage(model=request.models.segmenter)
    if not request.texts:
        return LiveConfig(segment=segment)
    detect = DetectStage(
        request.texts,
        every_n_frames=request.rhythm,
        wait=True,
        score_threshold=request.threshold,
        model=request.models.detector,
    )
    faces = FacesStage(request.gallery, model=request.models.faces) if request.names else None
    track = TrackStage(request.models.tracker)
    return LiveConfig(detect=detect, track=track, segment=segment, faces=faces)


def _rule(request: TrackRequest) -> NameRule | None:
    from kinemask.effects import NameRule

    if not request.names:
        return None
    return NameRule(request.except_names, request.only_names)


def _check_people(client: Client, request: TrackRequest) -> None:
    """Raises CommandError for a name that nobody has: better now than after an hour."""
    from kinemask.cli.faces.people import check_known

    for name in request.names:
        check_known(client, request.gallery, name)


def _check_stages(opened: StreamInfo) -> None:
    """Raises CommandError if a stage that is needed is down: better now than after an hour."""
    for stage in opened.stages:
        if stage.service is None:
            raise CommandError(
                f"the {stage.stage} stage is down: {stage.reason}",
                hint="kinemask engines shows which services are there",
            )
