"""RecogniseStream: faces followed, voted on, named within a budget, handed over."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from kinemask.v1 import faces_pb2, media_pb2, streams_pb2

from tests.faces.faces_kit import (
    ALICE,
    BOB,
    CAROL,
    GALLERY,
    DiscModel,
    Friends,
    drawn,
    one_disc,
    sent,
    serving_faces,
)
from tests.postgres_kit import Postgres
from tests.stream_kit import StreamClient, code_of, reason_of

Track = faces_pb2.RecognisedTrack
KNOWN, UNKNOWN = faces_pb2.FACE_DECISION_KNOWN, faces_pb2.FACE_DECISION_UNKNOWN
UNDECIDED, STRANGER = faces_pb2.FACE_DECISION_UNDECIDED, faces_pb2.FACE_DECISION_STRANGER
CLIENT = faces_pb2.FACE_TRACKING_CLIENT


class Naming:
    """One stream of pictures."""

    def __init__(self, friends: Friends) -> None:
        self.client = StreamClient(friends.stub.RecogniseStream, faces_pb2.RecogniseStreamRequest)
        self.next_id = 1

    async def open(
        self, token: bytes = b"", options: dict[str, object] | None = None, **fields: object
    ) -> faces_pb2.RecogniseStreamStarted:
        config = faces_pb2.RecogniseStreamConfig(
            options=faces_pb2.RecogniseOptions(gallery_id=GALLERY, **(options or {})),  # type: ignore[arg-type]  # whatever a test names
            stream=streams_pb2.StreamOptions(resume_token=token),
            **fields,  # type: ignore[arg-type]  # whatever a test names
        )
        return await self.client.open(config)  # type: ignore[no-any-return]  # of this rpc

    async def see(
        self, picture: np.ndarray, *regions: faces_pb2.FaceRegion
    ) -> faces_pb2.RecogniseStreamResult:
        """Send one picture; what is said of it."""
        frame = faces_pb2.RecogniseFrame(
            frame_id=self.next_id, image=sent(picture), regions=regions
        )
        self.next_id += 1
        await self.client.send(frame=frame)
        return (await self.client.read("result")).result  # type: ignore[no-any-return]  # of this rpc

    async def edit(self, **action: object) -> streams_pb2.EditResult:
        """Change something on the next frame, which is a picture of ALICE."""
        edit = faces_pb2.RecogniseStreamEdit(edit_id=self.next_id, **action)  # type: ignore[arg-type]  # whatever a test names
        await self.client.send(edit=edit)
        frame = faces_pb2.RecogniseFrame(frame_id=self.next_id, image=sent(one_disc(ALICE)))
        self.next_id += 1
        await self.client.send(frame=frame)
        answers = [await self.client.read(), await self.client.read()]
        [done] = [a.edit for a in answers if a.WhichOneof("message") == "edit"]
        return done  # type: ignore[no-any-return]  # of this rpc

    async def token(self) -> bytes:
        await self.client.send(snapshot=streams_pb2.SnapshotRequest())
        return bytes((await self.client.read("snapshot")).snapshot.resume_token)


def region(
    track_id: int, middle: tuple[int, int], radius: int, person: bool = False
) -> faces_pb2.FaceRegion:
    x, y = middle
    box = media_pb2.Box(x_min=x - radius, y_min=y - radius, x_max=x + radius, y_max=y + radius)
    kind = faces_pb2.REGION_KIND_PERSON if person else faces_pb2.REGION_KIND_FACE
    return faces_pb2.FaceRegion(track_id=track_id, box=box, kind=kind)


async def test_a_name_takes_three_votes_and_follows_the_face(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    started = await naming.open()
    assert started.config.votes.min_votes == 3 and started.config.options.model == "discs"
    decisions, ids = [], set()
    for step in range(4):
        picture = drawn((ALICE, (60 + 20 * step, 80), 30), (BOB, (220 - 10 * step, 160), 40))
        bob, alice = (await naming.see(picture)).tracks
        ids.add((bob.track_id, alice.track_id))
        decisions.append((bob.decision, alice.decision))
    assert ids == {(1, 2)}
    assert decisions == [(UNDECIDED, UNDECIDED)] * 2 + [(UNKNOWN, KNOWN)] * 2
    assert alice.best.display_name == "Alice" and alice.votes == 3


async def test_a_decided_track_is_looked_at_again_only_now_and_then(
    friends: Friends, discs: DiscModel
) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open(votes=faces_pb2.VoteOptions(recheck_every_n_frames=5))
    discs.embedded.clear()
    looked = []
    for _ in range(9):
        [track] = (await naming.see(one_disc(ALICE))).tracks
        looked.append(track.HasField("observation"))
    assert looked == [True] * 3 + [False] * 4 + [True, False]
    assert discs.embedded == [1] * 4


async def test_a_track_that_goes_over_to_another_face_loses_its_name(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB)
    naming = Naming(friends)
    await naming.open(tracking=CLIENT, votes=faces_pb2.VoteOptions(recheck_every_n_frames=1))
    here = region(7, (100, 100), 40)
    for _ in range(20):
        [track] = (await naming.see(one_disc(ALICE), here)).tracks
    assert track.decision == KNOWN and track.best.person_id == "alice"
    said = [(await naming.see(one_disc(BOB), here)).tracks[0] for _ in range(3)]
    assert [track.decision for track in said] == [UNDECIDED, UNDECIDED, KNOWN]
    assert said[-1].best.person_id == "bob"


async def test_only_the_client_s_regions_are_looked_at(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB)
    naming = Naming(friends)
    await naming.open(tracking=CLIENT, votes=faces_pb2.VoteOptions(min_votes=1))
    picture = drawn((ALICE, (60, 60), 30), (BOB, (200, 60), 30))
    body = region(9, (200, 130), 100, person=True)
    result = await naming.see(picture, body, region(4, (300, 200), 15))
    empty, bob = result.tracks
    assert (empty.track_id, empty.decision) == (4, UNDECIDED) and not empty.HasField("observation")
    assert (bob.track_id, bob.best.person_id) == (9, "bob") and bob.box == body.box


@pytest.mark.parametrize(
    "regions",
    [
        pytest.param([region(1, (60, 60), 20), region(1, (90, 90), 20)], id="a track twice"),
        pytest.param([region(1, (900, 900), 20)], id="a box outside"),
    ],
)
async def test_bad_regions_fail_their_frame_alone(
    friends: Friends, regions: list[faces_pb2.FaceRegion]
) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open(tracking=CLIENT)
    frame = faces_pb2.RecogniseFrame(frame_id=0, image=sent(one_disc(ALICE)), regions=regions)
    await naming.client.send(frame=frame)
    failed = (await naming.client.read("error")).error
    assert code_of(failed.status) is grpc.StatusCode.INVALID_ARGUMENT
    assert not (await naming.see(one_disc(ALICE))).tracks


async def test_a_spent_budget_leaves_tracks_for_later_frames(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB, carol=CAROL)
    naming = Naming(friends)
    await naming.open(budget_ms=1, votes=faces_pb2.VoteOptions(min_votes=1))
    picture = drawn((ALICE, (50, 60), 40), (BOB, (150, 60), 40), (CAROL, (250, 60), 40))
    first = await naming.see(picture)
    assert sum(track.deferred for track in first.tracks) == 2
    for _ in range(2):
        last = await naming.see(picture)
    assert sorted(track.best.person_id for track in last.tracks) == ["alice", "bob", "carol"]
    assert not any(track.deferred for track in last.tracks)


async def test_a_stranger_takes_frames_that_agree(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open(options={"enrol_strangers": faces_pb2.StrangerOptions(min_frames=2)})
    [first] = (await naming.see(one_disc(BOB))).tracks
    assert first.decision == UNDECIDED and len(await friends.people()) == 1
    await naming.see(one_disc(BOB))
    [third] = (await naming.see(one_disc(BOB))).tracks
    assert third.decision == STRANGER and third.best.stranger
    [stranger] = await friends.people(stranger=True)
    assert third.best.person_id == stranger.person_id and stranger.sample_count >= 1


async def test_a_deleted_person_s_name_goes_from_the_track(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open(votes=faces_pb2.VoteOptions(recheck_every_n_frames=1))
    for _ in range(3):
        [track] = (await naming.see(one_disc(ALICE))).tracks
    assert track.decision == KNOWN
    await friends.stub.DeletePerson(
        faces_pb2.DeletePersonRequest(gallery_id=GALLERY, person_id="alice")
    )
    [track] = (await naming.see(one_disc(ALICE))).tracks
    assert track.decision == UNDECIDED and not track.HasField("best")


async def test_not_this_person_is_remembered(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open()
    for _ in range(3):
        [track] = (await naming.see(one_disc(ALICE))).tracks
    identity = faces_pb2.TrackIdentity(track_id=track.track_id, person_id="alice")
    done = await naming.edit(not_person=identity)
    assert done.object_id == track.track_id and not done.HasField("status")
    [track] = (await naming.see(one_disc(ALICE))).tracks
    assert track.decision == UNDECIDED and track.votes == 0
    [face] = await friends.recognise(one_disc(ALICE))
    assert face.decision == UNKNOWN


async def test_this_person_is_enrolled_from_the_track(friends: Friends) -> None:
    await friends.make(bob=BOB)
    naming = Naming(friends)
    await naming.open()
    [track] = (await naming.see(one_disc(ALICE))).tracks
    identity = faces_pb2.TrackIdentity(track_id=track.track_id, person_id="bob")
    assert not (await naming.edit(is_person=identity)).HasField("status")
    [track] = (await naming.see(one_disc(ALICE))).tracks
    assert track.decision == KNOWN and track.best.person_id == "bob"
    assert len(await friends.samples()) == 2
    lost = faces_pb2.TrackIdentity(track_id=99, person_id="bob")
    refused = await naming.edit(is_person=lost)
    assert reason_of(refused.status) == "UNKNOWN_TRACK"


async def test_the_gallery_of_a_stream_stays(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open()
    other = faces_pb2.RecogniseOptions(gallery_id="other")
    refused = await naming.edit(options=other)
    assert code_of(refused.status) is grpc.StatusCode.INVALID_ARGUMENT
    stricter = faces_pb2.RecogniseOptions(gallery_id=GALLERY, threshold=1.0)
    assert not (await naming.edit(options=stricter)).HasField("status")
    [track] = (await naming.see(one_disc(BOB))).tracks
    assert track.observation.decision == UNKNOWN


async def test_another_replica_goes_on_from_the_token(friends: Friends, discs: DiscModel) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open()
    for _ in range(2):
        await naming.see(one_disc(ALICE))
    token = await naming.token()
    later = Naming(friends)
    later.next_id = 10
    started = await later.open(token)
    assert started.terms.resumed_after_frame_id == 2
    [track] = (await later.see(one_disc(ALICE))).tracks
    assert track.track_id == 1 and track.decision == KNOWN and track.votes == 3
    identity = faces_pb2.TrackIdentity(track_id=1, person_id="alice")
    assert not (await later.edit(not_person=identity)).HasField("status")


async def test_a_damaged_token_is_data_loss(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    naming = Naming(friends)
    await naming.open()
    await naming.see(one_disc(ALICE))
    token = await naming.token()
    damaged = Naming(friends)
    config = faces_pb2.RecogniseStreamConfig(
        options=faces_pb2.RecogniseOptions(gallery_id=GALLERY),
        stream=streams_pb2.StreamOptions(resume_token=token[:-2]),
    )
    await damaged.client.send(config=config)
    assert code_of(await damaged.client.failure()) is grpc.StatusCode.DATA_LOSS


async def test_a_database_that_is_away_degrades_and_ends_nothing(
    discs: DiscModel, own_postgres: Postgres
) -> None:
    url = own_postgres.new_database()
    async with serving_faces(discs, faces_galleries="on", database_url=url) as stub:
        friends = await Friends(stub).make(alice=ALICE)
        naming = Naming(friends)
        await naming.open(votes=faces_pb2.VoteOptions(recheck_every_n_frames=1))
        for _ in range(3):
            await naming.see(one_disc(ALICE))
        own_postgres.kill()
        result = await naming.see(one_disc(ALICE))
        assert code_of(result.degraded) is grpc.StatusCode.UNAVAILABLE
        [track] = result.tracks
        assert track.decision == KNOWN and not track.HasField("observation")
        own_postgres.start()
        while (result := await naming.see(one_disc(ALICE))).HasField("degraded"):
            pass
        assert result.tracks[0].observation.decision == KNOWN
