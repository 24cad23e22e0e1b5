"""Faces and whose they are: `client.faces`.

alice = client.faces.create_person("friends", "Alice")
client.faces.enrol("friends", alice.person_id, ["alice.jpg"])
[picture] = client.faces.recognise("friends", ["party.jpg"])
print([face.name for face in picture.faces])
"""

from kinemask.faces._aio import AsyncFaces
from kinemask.faces._api import Faces
from kinemask.faces.types import (
    Enrolled,
    Face,
    FaceInPicture,
    FaceMatch,
    FaceQuality,
    FaceSample,
    FacesInImage,
    Gallery,
    GalleryModel,
    Merge,
    Person,
    PersonAction,
    RecognisedFace,
    Recognition,
    ReembedProgress,
    Rejection,
    Removed,
    Verification,
)

__all__ = [
    "AsyncFaces",
    "Enrolled",
    "Face",
    "FaceInPicture",
    "FaceMatch",
    "FaceQuality",
    "FaceSample",
    "Faces",
    "FacesInImage",
    "Gallery",
    "GalleryModel",
    "Merge",
    "Person",
    "PersonAction",
    "RecognisedFace",
    "Recognition",
    "ReembedProgress",
    "Rejection",
    "Removed",
    "Verification",
]
