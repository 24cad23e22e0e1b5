"""Single calls of both clients, the synchronous streams, addresses and readiness."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import kinemask
import numpy as np
import pytest
from kinemask import images
from kinemask.client import _channel
from kinemask.v1 import media_pb2

from tests.client.client_fakes import MASK, Fakes, Script, rich_status, serving

IMAGE = np.zeros((6, 8, 3), np.uint8)
CLICK = kinemask.Prompt(points=[(3, 2)], negative_points=[(0, 0)])


class FakesThread:
    """The fakes in a thread with a loop of its own, for clients that block theirs."""

    def __init__(self) -> None:
        self.fakes = Fakes()
        self.loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=[self._serve()])

    async def _serve(self) -> None:
        async with serving(self.fakes):
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Fakes:
        self._thread.start()
        self._ready.wait(10)
        return self.fakes

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with FakesThread() as running:
        yield running


@pytest.fixture
def client(fakes: Fakes) -> Iterator[kinemask.Client]:
    with kinemask.Client(fakes.address) as made:
        yield made


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(IMAGE, id="array"),
        pytest.param(images.encode_png(IMAGE), id="bytes"),
        pytest.param("file", id="path"),
    ],
)
def test_detect(client: kinemask.Client, fakes: Fakes, picture: object, tmp_path: Path) -> None:
    if isinstance(picture, str):
        picture = tmp_path / "picture.png"
        picture.write_bytes(images.encode_png(IMAGE))
    found = client.detect(picture, ["face", "cup"], score_threshold=0.5, top_k=3)  # type: ignore[arg-type]  # one of three
    assert [d.label for d in found] == ["face", "cup"]
    assert found[0] == kinemask.Detection(kinemask.Box(1, 2, 4, 6), 0.75, "face", "face")
    assert (found.width, found.height, found.service.engine) == (8, 6, "classic")
    options = fakes.calls[0].options
    assert (options.score_threshold, options.top_k, options.model) == (0.5, 3, "auto")
    assert not options.HasField("overlap_threshold")
    np.testing.assert_array_equal(images.decode(fakes.calls[0].images[0].encoded), IMAGE)


def test_a_batch_keeps_each_pictures_error_apart(client: kinemask.Client) -> None:
    good, bad = client.detect_batch([IMAGE, b"bad"], ["face"])
    assert good.error is None and len(good) == 1
    assert isinstance(bad.error, kinemask.InvalidArgumentError)
    with pytest.raises(kinemask.InvalidArgumentError, match="not a picture"):
        client.detect(b"bad", ["face"])


def test_caption(client: kinemask.Client, fakes: Fakes) -> None:
    found = client.caption(IMAGE, beams=3, max_tokens=20, min_tokens=2, text="a", model="blip")
    assert (str(found), found.score, found.tokens, found.truncated) == ("a red car", 0.5, 3, True)
    assert found.service.model == "blip"
    options = fakes.calls[0].options
    assert (options.beams, options.max_tokens, options.min_tokens) == (3, 20, 2)
    assert (options.text, options.model) == ("a", "blip")
    np.testing.assert_array_equal(images.decode(fakes.calls[0].images[0].encoded), IMAGE)


def test_captions_of_a_batch_keep_each_pictures_error_apart(client: kinemask.Client) -> None:
    good, bad = client.caption_batch([IMAGE, b"bad"])
    assert good.error is None and good.text == "a red car"
    assert isinstance(bad.error, kinemask.InvalidArgumentError)
    with pytest.raises(kinemask.InvalidArgumentError, match="not a picture"):
        client.caption(b"bad")


async def test_captions_for_asyncio(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client:
        assert (await client.caption(IMAGE)).text == "a red car"
        batch = await client.caption_batch([IMAGE] * 2, options=kinemask.CaptionOptions(beams=2))
        assert [one.text for one in batch] == ["a red car"] * 2
        assert [model.name for model in await client.models("captioner")] == ["classic"]


def test_arrays_travel_raw_when_asked(fakes: Fakes) -> None:
    with kinemask.Client(fakes.address, jpeg_quality=None) as client:
        client.detect(IMAGE, ["face"])
    raw = fakes.calls[0].images[0].raw
    assert (raw.width, raw.height, raw.format) == (8, 6, media_pb2.PIXEL_FORMAT_RGB24)


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        pytest.param(np.zeros((6, 8), np.uint8), ValueError, id="grey"),
        pytest.param(np.zeros((6, 8, 3)), ValueError, id="float"),
        pytest.param("/no/such/file.png", FileNotFoundError, id="no file"),
        pytest.param(7, TypeError, id="a number"),
    ],
)
def test_what_is_no_picture_never_leaves(
    client: kinemask.Client, fakes: Fakes, picture: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.detect(picture)  # type: ignore[arg-type]  # wrong on purpose
    assert fakes.calls == []


@pytest.mark.parametrize("encoding", ["rle", "png", "bits"])
def test_segment(client: kinemask.Client, fakes: Fakes, encoding: object) -> None:
    prompts = [CLICK, kinemask.Prompt(box=(1, 1, 5, 5), object_id=1, label="cup")]
    found = client.segment(IMAGE, prompts, candidates=2, mask_encoding=encoding)  # type: ignore[arg-type]  # one of three
    assert [mask.object_id for mask in found] == [2, 1], "the free id goes to the one without"
    assert [len(offered) for offered in found.candidates] == [2, 2]
    assert found[1].label == "cup"
    np.testing.assert_array_equal(found[0].mask, MASK)
    sent = fakes.calls[0].prompts[0]
    assert [(p.x, p.y, p.negative) for p in sent.points] == [(3, 2, False), (0, 0, True)]
    assert not sent.HasField("box")


def test_segment_everything_and_models_and_services(client: kinemask.Client) -> None:
    assert len(client.segment_everything(IMAGE)) == 1
    assert client.models("detector")[0].classes == ("face",)
    assert client.models("segmenter")[0].name == "classic"
    there = client.services()
    assert there.gateway.service == "gateway"
    assert there["segmenter"].models[0].is_default
    with pytest.raises(KeyError, match=r"expected one of \['segmenter'\]"):
        there["faces"]


def test_a_call_is_tried_again_only_where_that_is_safe(
    client: kinemask.Client, fakes: Fakes
) -> None:
    fakes.failures = [rich_status(grpc.StatusCode.UNAVAILABLE, "away", "UNAVAILABLE", 0.01)] * 3
    assert client.services().gateway.service == "gateway"
    assert len(fakes.calls) == 4
    assert len(set(fakes.request_ids)) == 1, "tries of one call share its id"
    fakes.failures = [rich_status(grpc.StatusCode.UNAVAILABLE, "away", "UNAVAILABLE")] * 4
    with pytest.raises(kinemask.UnavailableError, match="away"):
        client.services()
    fakes.calls.clear()
    fakes.failures = [rich_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "QUEUE_FULL", 7)]
    with pytest.raises(kinemask.ResourceExhaustedError) as caught:
        client.services()
    assert (len(fakes.calls), caught.value.retry_after_s) == (1, 7)


def test_a_retry_that_does_not_fit_the_timeout_is_not_made(
    client: kinemask.Client, fakes: Fakes
) -> None:
    fakes.failures = [rich_status(grpc.StatusCode.UNAVAILABLE, "away", "UNAVAILABLE", 60)]
    with pytest.raises(kinemask.UnavailableError) as caught:
        client.services(timeout_s=5)
    assert caught.value.retry_after_s == 60
    assert len(fakes.calls) == 1


def test_request_ids_and_metadata_travel(fakes: Fakes) -> None:
    with kinemask.Client(fakes.address, request_id="job-7", metadata={"k": "v"}) as client:
        client.services()
        client.detect(IMAGE, request_id="frame-1")
        stream = client.live()
        with stream:
            assert stream.request_id == "job-7"
    assert fakes.request_ids == ["job-7", "frame-1"]
    assert fakes.streams.request_ids == ["job-7"]


def test_a_closed_client_says_so(client: kinemask.Client) -> None:
    client.close()
    client.close()
    with pytest.raises(kinemask.StreamClosedError):
        client.services()


def test_nobody_there_is_unavailable() -> None:
    with kinemask.Client("127.0.0.1:1") as client:
        with pytest.raises(kinemask.UnavailableError, match=r"127\.0\.0\.1:1"):
            client.services()
        with pytest.raises(kinemask.UnavailableError):
            list(client.track([b"x"]))
        with pytest.raises(kinemask.UnavailableError):
            client.wait_ready(timeout_s=0.2)


def test_wait_ready_asks_for_health(client: kinemask.Client) -> None:
    client.wait_ready(5)
    with pytest.raises(kinemask.NotFoundError):
        client.wait_ready(5, service="no.such.Service")


# --- streams for ordinary code


def test_track_yields_every_answer_in_order(client: kinemask.Client, fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(go_away_after=4)]
    frames = [kinemask.StreamFrame(IMAGE, capture_time_us=i * 40_000) for i in range(25)]
    answers = list(client.track(frames, prompts=["face"], effects=["blur"], objects=[CLICK]))
    assert [answer.frame_id for answer in answers] == list(range(25))
    assert answers[24].capture_time_us == 24 * 40_000
    assert all(len(answer.objects) == 1 for answer in answers), "prompted before the first frame"
    config = fakes.streams.configs[0]
    assert list(config.detect.options.prompts) == ["face"]
    assert config.effect.effects[0].name == "blur"
    assert config.HasField("segment")


def test_one_thread_may_send_everything_and_then_read(client: kinemask.Client) -> None:
    with client.live() as stream:
        for _ in range(100):
            stream.send(b"x")
        stream.finish()
        assert [answer.frame_id for answer in stream] == list(range(100))


def test_edits_of_ordinary_code(client: kinemask.Client) -> None:
    with client.live() as stream:
        cup = stream.prompt(4, box=(0, 0, 3, 3), label="cup")
        unknown = stream.remove(9)
        looking = stream.change(kinemask.DetectStage(["car"]))
        stream.send(b"x")
        assert cup.result(10).object_id == 4
        assert looking.result(10).frame_id == 0
        with pytest.raises(kinemask.NotFoundError):
            unknown.result(10)
        assert stream.info is not None and stream.info.policy == "block"


def test_video_and_track_streams_of_ordinary_code(client: kinemask.Client) -> None:
    with client.segment_video(kinemask.VideoConfig(max_objects=2)) as video:
        video.prompt(1, points=[(2, 2)])
        video.send(IMAGE)
        video.clear(1)
        video.send(IMAGE)
        video.finish()
        assert [len(answer.objects) for answer in video] == [1, 1]
    parameters = kinemask.TrackerParameters(min_hits=2)
    with client.track_boxes(kinemask.TrackStage("sort", parameters)) as tracks:
        tracks.send([kinemask.Detection(kinemask.Box(0, 0, 4, 4), 0.5)])
        ended = tracks.end_tracks([1])
        tracks.send(None, observations=[kinemask.Observation(1, (0, 0, 4, 4))])
        tracks.finish()
        assert [len(answer.tracks) for answer in tracks] == [1, 0]
        assert ended.result(10).frame_id == 1


def test_leaving_track_early_leaves_nothing_running(client: kinemask.Client, fakes: Fakes) -> None:
    for _ in client.track([b"x"] * 1000):
        break
    assert fakes.streams.read < 1000


# --- configuration


@pytest.mark.parametrize(
    ("address", "target"),
    [
        pytest.param("host:1", "host:1", id="one"),
        pytest.param("dns:///host:1", "dns:///host:1", id="a grpc uri"),
        pytest.param(["127.0.0.1:1"], "127.0.0.1:1", id="a list of one"),
        pytest.param(["127.0.0.1:1", "127.0.0.2:2"], "ipv4:127.0.0.1:1,127.0.0.2:2", id="two"),
        pytest.param("127.0.0.1:1, 127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2", id="commas"),
        pytest.param(["[::1]:1", "[::2]:2"], "ipv6:[::1]:1,[::2]:2", id="ipv6"),
        pytest.param(["localhost:1", "127.0.0.1:2"], "ipv4:127.0.0.1:1,127.0.0.1:2", id="names"),
    ],
)
def test_addresses(address: str | list[str], target: str) -> None:
    assert _channel.target_of(address).target == target


@pytest.mark.parametrize(
    ("address", "message"),
    [
        pytest.param("", "found nothing", id="empty"),
        pytest.param([], "found none", id="no address"),
        pytest.param(["a", "b"], "expected HOST:PORT", id="no port"),
        pytest.param(["127.0.0.1:1", "[::1]:1"], "found both", id="mixed families"),
    ],
)
def test_bad_addresses(address: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kinemask.Client(address)


def test_calls_take_turns_over_a_list_of_addresses() -> None:
    with FakesThread() as one, FakesThread() as other:
        with kinemask.Client([one.address, other.address]) as client:
            client.wait_ready(5)
            for _ in range(50):
                client.services()
                if one.calls and other.calls:
                    break
        assert one.calls and other.calls


@pytest.mark.parametrize(
    "wrong",
    [{"window": 257}, {"policy": "drop"}, {"max_unread": 0}],
    ids=lambda options: next(iter(options)),
)
def test_stream_options_are_checked_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        kinemask.StreamOptions(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_words_and_a_config_exclude_each_other(client: kinemask.Client) -> None:
    with pytest.raises(ValueError, match="found both"):
        client.live(kinemask.LiveConfig(), prompts=["face"])


async def test_the_asyncio_client_makes_the_same_calls() -> None:
    async with serving() as (fakes, _), kinemask.AsyncClient(fakes.address) as client:
        await client.wait_ready(5)
        assert len(await client.detect(IMAGE, ["face"])) == 1
        assert len(await client.detect_batch([IMAGE, IMAGE], ["face"])) == 2
        assert len(await client.segment(IMAGE, [CLICK])) == 1
        assert len(await client.segment_everything(IMAGE)) == 1
        assert (await client.models("detector"))[0].name == "classic"
        fakes.failures = [rich_status(grpc.StatusCode.UNAVAILABLE, "away", "U", 0.01)]
        assert (await client.services()).gateway.version == "0.1.0"
        fakes.failures = [rich_status(grpc.StatusCode.DATA_LOSS, "damaged", "D")]
        with pytest.raises(kinemask.DataLossError):
            await client.services()
