"""Whether a render can be made of tracks, before it is queued."""

from __future__ import annotations

from collections.abc import Collection

from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.rendering.rules import rules_of


def check_render(spec: pb.RenderJobSpec, known: Collection[int], *, with_names: bool) -> None:
    """Raises ServiceError INVALID_ARGUMENT: an effect, object or name that there cannot be.

    `known`: the ids of the objects there are; `with_names`: faces were looked for.
    """
    rules_of(spec.rules)
    for number, rule in enumerate(spec.rules):
        where = f"spec.rules[{number}]"
        for object_id in rule.object_ids:
            if object_id not in known:
                told = ", ".join(map(str, sorted(known)[:50])) or "none"
                what = f"expected objects that were found, {told}; got {object_id}"
                raise errors.invalid(f"{where}.object_ids", what, reason="NO_SUCH_OBJECT")
        for field, names in (("only_names", rule.only_names), ("except_names", rule.except_names)):
            if names and not with_names:
                what = "expected no names: the tracks were made without the faces stage"
                raise errors.invalid(f"{where}.{field}", what, reason="NO_NAMES")
