"""The parts of an analysis: each asks one or two services and gives its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinemask.v1 import (
    captioner_pb2,
    detector_pb2,
    faces_pb2,
    images_pb2,
    media_pb2,
    segmenter_pb2,
)

from kinemask_gateway.images.calls import PictureCalls

# What SegmentImage takes at once.
_MAX_PROMPTS = 256


@dataclass(frozen=True)
class Parts:
    """Answers parts about one picture. Every method raises ServiceError."""

    calls: PictureCalls
    image: media_pb2.Image
    encoding: media_pb2.MaskEncoding.ValueType

    async def detect(self, options: detector_pb2.DetectOptions) -> images_pb2.DetectAnswer:
        """Boxes from words."""
        reply = await self._detected(options)
        found = reply.results[0]
        return images_pb2.DetectAnswer(
            detections=found.detections, service=reply.service, timing=found.timing
        )

    async def segment(self, options: images_pb2.SegmentOptions) -> images_pb2.SegmentAnswer:
        """Masks of what is prompted."""
        reply = await self.calls.segment(
            segmenter_pb2.SegmentImageRequest(
                image=self.image,
                prompts=options.prompts,
                candidates=options.candidates,
                mask_encoding=self.encoding,
                model=options.model,
            )
        )
        return images_pb2.SegmentAnswer(
            results=reply.results, service=reply.service, timing=reply.timing
        )

    async def instances(self, options: images_pb2.InstancesOptions) -> images_pb2.InstancesAnswer:
        """Masks of what is detected, best first."""
        reply = await self._detected(options.detect)
        return await self._masked(reply, reply.results[0].detections, options.segment_model)

    async def labelled(
        self, options: images_pb2.LabelledObjectOptions
    ) -> images_pb2.InstancesAnswer:
        """The mask of the one thing of a label and rank; none if there is none."""
        given = options.HasField("score_threshold")
        wanted = detector_pb2.DetectOptions(
            prompts=[options.label],
            score_threshold=options.score_threshold if given else None,
            top_k=options.rank + 1,
            model=options.detect_model,
        )
        reply = await self._detected(wanted)
        ranked = list(reply.results[0].detections)[options.rank : options.rank + 1]
        return await self._masked(reply, ranked, options.segment_model)

    async def everything(
        self, options: images_pb2.EverythingOptions
    ) -> images_pb2.EverythingAnswer:
        """Masks of everything."""
        given = options.HasField
        reply = await self.calls.everything(
            segmenter_pb2.SegmentEverythingRequest(
                image=self.image,
                points_per_side=options.points_per_side,
                score_threshold=options.score_threshold if given("score_threshold") else None,
                stability_threshold=(
                    options.stability_threshold if given("stability_threshold") else None
                ),
                overlap_threshold=options.overlap_threshold if given("overlap_threshold") else None,
                min_area_px=options.min_area_px,
                mask_encoding=self.encoding,
                model=options.model,
            )
        )
        return images_pb2.EverythingAnswer(
            masks=reply.masks, service=reply.service, timing=reply.timing
        )

    async def faces(self, options: images_pb2.FacesOptions) -> images_pb2.FacesAnswer:
        """Faces, and names where a gallery is given."""
        if options.HasField("recognise"):
            named = await self.calls.recognise(
                faces_pb2.RecogniseRequest(images=[self.image], options=options.recognise)
            )
            known = named.results[0]
            return images_pb2.FacesAnswer(
                faces=known.faces, service=named.service, timing=known.timing
            )
        reply = await self.calls.find_faces(
            faces_pb2.DetectFacesRequest(
                images=[self.image], options=options.detect, model=options.model
            )
        )
        found = reply.results[0]
        faces = [faces_pb2.RecognisedFace(face=face) for face in found.faces]
        return images_pb2.FacesAnswer(faces=faces, service=reply.service, timing=found.timing)

    async def caption(self, options: captioner_pb2.CaptionOptions) -> images_pb2.CaptionAnswer:
        """Words."""
        request = captioner_pb2.CaptionRequest(images=[self.image], options=options)
        reply = await self.calls.caption(request)
        return images_pb2.CaptionAnswer(caption=reply.results[0], service=reply.service)

    async def _detected(self, options: detector_pb2.DetectOptions) -> detector_pb2.DetectResponse:
        request = detector_pb2.DetectRequest(images=[self.image], options=options)
        return await self.calls.detect(request)

    async def _masked(
        self,
        reply: detector_pb2.DetectResponse,
        detections: Sequence[detector_pb2.Detection],
        model: str,
    ) -> images_pb2.InstancesAnswer:
        """A mask for each detection, object ids from 1."""
        answer = images_pb2.InstancesAnswer(detector=reply.service, timing=reply.results[0].timing)
        for begin in range(0, len(detections), _MAX_PROMPTS):
            part = detections[begin : begin + _MAX_PROMPTS]
            prompts = [
                segmenter_pb2.ObjectPrompt(object_id=number, box=one.box)
                for number, one in enumerate(part, begin + 1)
            ]
            options = images_pb2.SegmentOptions(prompts=prompts, model=model)
            masks = await self.segment(options)
            answer.segmenter.CopyFrom(masks.service)
            add_timing(answer.timing, masks.timing)
            for one, made in zip(part, masks.results, strict=True):
                answer.instances.add(detection=one, mask=next(iter(made.candidates), None))
        return answer


def add_timing(total: media_pb2.Timing, more: media_pb2.Timing) -> None:
    """Add up what was spent."""
    total.queue_ms += more.queue_ms
    total.decode_ms += more.decode_ms
    total.infer_ms += more.infer_ms
    total.encode_ms += more.encode_ms
