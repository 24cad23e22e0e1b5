"""Faces and whose they are: `client.faces`.

alice = client.faces.create_person("friends", "Alice")
client.faces.enrol("friends", alice.person_id, ["alice.jpg"])
[picture] = client.faces.recognise("friends", ["party.jpg"])
print([face.name for face in picture.faces])
"""

from kinemask.faces._aio import AsyncFaces
from kinemask.faces._api import Faces
from kinemask.faces._streams import AsyncEnrolStream, AsyncRecogniseStream
from kinemask.faces._sync_streams import EnrolStream, RecogniseStream
from kinemask.faces.types import (
    EnrolAnswer,
    Enrolled,
    Face,
    FaceInPicture,
    FaceMatch,
    FaceQuality,
    FaceRegion,
    FaceSample,
    FacesInImage,
    Gallery,
    GalleryModel,
    Merge,
    Person,
    PersonAction,
    RecognisedFace,
    RecognisedFrame,
    RecognisedTrack,
    Recognition,
    ReembedProgress,
    Rejection,
    Removed,
    Verification,
)

__all__ = [
    "AsyncEnrolStream",
    "AsyncFaces",
    "AsyncRecogniseStream",
    "EnrolAnswer",
    "EnrolStream",
    "Enrolled",
    "Face",
    "FaceInPicture",
    "FaceMatch",
    "FaceQuality",
    "FaceRegion",
    "FaceSample",
    "Faces",
    "FacesInImage",
    "Gallery",
    "GalleryModel",
    "Merge",
    "Person",
    "PersonAction",
    "RecogniseStream",
    "RecognisedFace",
    "RecognisedFrame",
    "RecognisedTrack",
    "Recognition",
    "ReembedProgress",
    "Rejection",
    "Removed",
    "Verification",
]
