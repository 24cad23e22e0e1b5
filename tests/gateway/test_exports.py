"""Exports: each format read back, against the tracks themselves."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from kinemask import masks
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import videos_pb2
from numpy.typing import NDArray
from pycocotools import mask as coco_mask  # type: ignore[import-untyped]  # it ships no types
from pycocotools.coco import COCO  # type: ignore[import-untyped]  # it ships no types

from tests.gateway.jobs_kit import jobs_gateway, watched
from tests.gateway.library_kit import LibraryCalls, clip
from tests.gateway.render_kit import output, render_worker, track_job
from tests.gateway.render_worker import disc
from tests.postgres_kit import Postgres

HEIGHT, WIDTH, FRAMES = 64, 96, 30


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
async def library(url: str, tmp_path: Path) -> AsyncIterator[LibraryCalls]:
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as calls, render_worker(url, data):
        yield calls


@pytest.fixture
async def track_id(library: LibraryCalls, tmp_path: Path) -> str:
    return await track_job(library, clip(tmp_path, FRAMES))


async def exported(
    library: LibraryCalls, track_id: str, kind: pb.ExportFormat.ValueType, **fields: Any
) -> tuple[pb.Job, bytes]:
    source = pb.TrackSource(track_job_id=track_id)
    spec = pb.ExportJobSpec(source=source, format=kind, **fields)
    answer = await library.jobs.CreateExportJob(pb.CreateExportJobRequest(spec=spec))
    job = (await watched(library, answer.job.job_id))[-1]
    assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
    return job, await output(library, job)


def expected(object_id: int, frame_index: int) -> NDArray[np.bool_]:
    return disc(object_id, frame_index, HEIGHT, WIDTH)


async def test_coco(library: LibraryCalls, track_id: str, tmp_path: Path) -> None:
    job, content = await exported(library, track_id, pb.EXPORT_FORMAT_COCO_VIDEO)
    assert (job.export_result.object_count, job.export_result.frame_count) == (3, FRAMES)
    assert job.outputs[0].file.file_name == "clip-coco.json"
    (tmp_path / "coco.json").write_bytes(content)
    told = COCO(str(tmp_path / "coco.json"))
    assert len(told.getImgIds()) == FRAMES
    assert sorted(c["name"] for c in told.loadCats(told.getCatIds())) == ["cup", "face"]
    assert len(told.getAnnIds()) == 3 * FRAMES
    for annotation in told.loadAnns(told.getAnnIds()):
        frame_index = told.loadImgs(annotation["image_id"])[0]["frame_id"]
        mask = expected(annotation["track_id"], frame_index)
        assert np.array_equal(told.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        box = masks.mask_box(mask)
        assert box is not None
        assert annotation["bbox"] == [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    (cup,) = told.getCatIds(catNms=["cup"])
    assert {a["track_id"] for a in told.loadAnns(told.getAnnIds(catIds=[cup]))} == {2}


async def test_youtube_vis(library: LibraryCalls, track_id: str) -> None:
    wanted = videos_pb2.FrameRange(first_frame_index=3, last_frame_index=12)
    _, content = await exported(
        *(library, track_id, pb.EXPORT_FORMAT_YOUTUBE_VIS), range=wanted, omit_leak_guard=True
    )
    told = json.loads(content)
    (video,) = told["videos"]
    assert (video["length"], len(video["file_names"])) == (10, 10)
    assert [a["track_id"] for a in told["annotations"]] == [1, 2, 3]
    for annotation in told["annotations"]:
        object_id = annotation["track_id"]
        rows = zip(
            *(annotation[name] for name in ("segmentations", "bboxes", "areas")), strict=True
        )
        for frame_index, (rle, box, area) in enumerate(rows, 3):
            if object_id == 3 and 5 <= frame_index < 10:  # the leak guard's
                assert (rle, box, area) == (None, None, None)
                continue
            mask = expected(object_id, frame_index)
            assert np.array_equal(coco_mask.decode(rle).astype(bool), mask)
            assert (area, len(box)) == (mask.sum(), 4)


async def test_mot(library: LibraryCalls, track_id: str) -> None:
    _, content = await exported(library, track_id, pb.EXPORT_FORMAT_MOT_CHALLENGE, prompts=["FACE"])
    rows = np.loadtxt(io.BytesIO(content), delimiter=",")  # (N, 10)
    assert rows.shape == (2 * FRAMES, 10)
    assert (rows[0, 0], rows[-1, 0], set(rows[:, 1])) == (1, FRAMES, {1, 3})
    for row in rows:
        box = masks.mask_box(expected(int(row[1]), int(row[0]) - 1))
        assert box is not None
        assert row[2:6].tolist() == [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    assert (rows[:, 7:] == -1).all()


async def test_png_masks(library: LibraryCalls, track_id: str) -> None:
    _, content = await exported(library, track_id, pb.EXPORT_FORMAT_PNG_MASKS)
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    assert archive.namelist() == [f"{n:06d}.png" for n in range(FRAMES)]
    for frame_index in (0, 7, 29):
        data = np.frombuffer(archive.read(f"{frame_index:06d}.png"), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert picture is not None
        wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
        for object_id in (1, 2, 3):  # the better score lies on top
            wanted[expected(object_id, frame_index)] = object_id
        assert np.array_equal(picture, wanted)
    _, again = await exported(library, track_id, pb.EXPORT_FORMAT_PNG_MASKS)
    assert again == content


async def test_csv(library: LibraryCalls, track_id: str) -> None:
    _, content = await exported(
        *(library, track_id, pb.EXPORT_FORMAT_CSV_TRACKS), object_ids=[1, 3], min_score=0.7
    )
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert len(rows) == FRAMES
    assert {row["object_id"] for row in rows} == {"3"}
    row = rows[6]
    assert (row["frame_index"], row["time_s"]) == ("6", "0.240000")
    assert (row["label"], row["prompt"], row["name_decided"]) == ("face", "Face", "1")
    assert (row["origin"], row["state"]) == ("leak_guard", "confirmed")
    assert int(row["area_px"]) == expected(3, 6).sum()


async def test_tracks_outlive_their_video(library: LibraryCalls, track_id: str) -> None:
    (video,) = (await library.videos.ListVideos(videos_pb2.ListVideosRequest())).videos
    await library.videos.DeleteVideo(videos_pb2.DeleteVideoRequest(video_id=video.video_id))
    _, content = await exported(library, track_id, pb.EXPORT_FORMAT_CSV_TRACKS)
    assert len(content.splitlines()) == 3 * FRAMES + 1
    assert not list((library.data_dir / "scratch").iterdir())
