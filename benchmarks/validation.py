"""What validating a message costs, on one core: `python -m benchmarks.validation`.

Ends with one JSON line `{"median_us": {MESSAGE: ...}}`.

For comparison, protovalidate 1.2 with rules made from the same limits, on the same messages in the
same minute (two shared cores): Frame 20 us against 1.7 here, SegmentVideoRequest 20 against 2.3,
SegmentImageRequest 4.5 ms against 8.3 us, TrackFrame of 100 detections 1.1 s against 0.48 ms. It
evaluates a CEL expression for every bounded number, so the frame path has a validator of our own.
"""

from __future__ import annotations

import json
import statistics
import timeit

from google.protobuf.message import Message
from kinemask.v1 import detector_pb2, media_pb2, segmenter_pb2, tracker_pb2
from kinemask_chassis.validation import validate

_ROUNDS = 15
_ROUND_S = 0.05


def sample_messages() -> dict[str, Message]:
    """What the frame path validates, as it comes off the wire."""
    jpeg = b"\xff" * 170_000  # a 720p JPEG at quality 85
    image = media_pb2.Image(encoded=jpeg)
    frame = media_pb2.Frame(frame_id=7, image=image, capture_time_us=1_700_000_000_000_000)
    box = media_pb2.Box(x_min=10.5, y_min=20.5, x_max=110.5, y_max=220.5)
    detection = detector_pb2.Detection(box=box, score=0.9, label="person", prompt="a person")
    prompt = segmenter_pb2.ObjectPrompt(object_id=1, box=box)
    messages: dict[str, Message] = {
        "Frame": frame,
        "SegmentVideoRequest": segmenter_pb2.SegmentVideoRequest(frame=frame),
        "SegmentImageRequest": segmenter_pb2.SegmentImageRequest(image=image, prompts=[prompt]),
        "TrackFrame of 100": tracker_pb2.TrackFrame(frame_id=7, detections=[detection] * 100),
    }
    return {name: type(m).FromString(m.SerializeToString()) for name, m in messages.items()}


def median_us(message: Message) -> float:
    """Median over rounds of one call's time, compilation left out."""
    validate(message)
    once_s = timeit.timeit(lambda: validate(message), number=20) / 20
    calls = max(int(_ROUND_S / once_s), 1)
    rounds = timeit.repeat(lambda: validate(message), number=calls, repeat=_ROUNDS)
    return statistics.median(rounds) / calls * 1e6


def main() -> None:
    result = {name: round(median_us(message), 2) for name, message in sample_messages().items()}
    print(json.dumps({"median_us": result}))


if __name__ == "__main__":
    main()
