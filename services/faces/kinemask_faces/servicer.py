"""The faces service's rpcs: messages to plain values and back, a file for each subject."""

from __future__ import annotations

from kinemask_chassis.streams import StreamLimits, StreamObserver, StreamServer

from kinemask_faces.parts import FaceParts
from kinemask_faces.recognising import Recogniser
from kinemask_faces.servicer_corrections import CorrectionServicer
from kinemask_faces.servicer_detection import DetectionServicer
from kinemask_faces.servicer_galleries import GalleryServicer
from kinemask_faces.servicer_people import PeopleServicer
from kinemask_faces.servicer_recognition import RecognitionServicer
from kinemask_faces.servicer_samples import SampleServicer


class FacesServicer(
    DetectionServicer,
    GalleryServicer,
    PeopleServicer,
    SampleServicer,
    RecognitionServicer,
    CorrectionServicer,
):
    """Serves every rpc of `FacesService`."""

    def __init__(
        self,
        parts: FaceParts,
        limits: StreamLimits,
        enrol_observer: StreamObserver,
        recognise_observer: StreamObserver,
    ) -> None:
        self._parts = parts
        self._recogniser = Recogniser(parts)
        self._enrol_observer = enrol_observer
        self._recognise_observer = recognise_observer
        self.streams = StreamServer(limits)
