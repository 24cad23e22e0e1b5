"""Everything behind AnnotationService, put together once."""

from __future__ import annotations

from dataclasses import dataclass

from kinemask_gateway.annotations.asking import Asking
from kinemask_gateway.annotations.calls import SegmenterCalls
from kinemask_gateway.annotations.editing import Editor
from kinemask_gateway.annotations.held import HeldSessions
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.objects import Objects
from kinemask_gateway.annotations.prompting import Prompting
from kinemask_gateway.annotations.propagating import Propagations
from kinemask_gateway.annotations.reading import Reading
from kinemask_gateway.annotations.release import SessionRelease
from kinemask_gateway.annotations.retracting import Retracting
from kinemask_gateway.annotations.sessions import Sessions
from kinemask_gateway.annotations.tools import Tools
from kinemask_gateway.downstream import Downstream
from kinemask_gateway.library.parts import StoredParts
from kinemask_gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Rooms:
    """Who does what."""

    held: HeldSessions
    sessions: Sessions
    prompting: Prompting
    retracting: Retracting
    objects: Objects
    reading: Reading
    propagations: Propagations

    @classmethod
    def of(cls, parts: StoredParts, downstream: Downstream, settings: GatewaySettings) -> Rooms:
        """Nothing is read or written yet; deletions of videos ask about their sessions from now."""
        database, library = parts.database, parts.library
        held = HeldSessions(settings.session_idle_s, settings.max_sessions_held)
        masks = MaskStore(database, library.store)
        calls = SegmenterCalls(
            downstream.pools["segmenter"], settings.picture_timeout_s, settings.open_timeout_s
        )
        sessions = Sessions(database, library.store, held, masks, calls)
        editor = Editor(database, held, masks)
        most = settings.max_message_bytes
        asking = Asking(database, library, calls, most)
        parts.deletion.before_delete(SessionRelease(held, settings.session_idle_s))
        return cls(
            held,
            sessions,
            Prompting(editor, masks, asking),
            Retracting(library, editor, masks, asking),
            Objects(database, editor, masks),
            Reading(database, library, sessions, masks, most),
            Propagations(Tools(database, library, masks, calls, held, parts.leaving, most)),
        )
