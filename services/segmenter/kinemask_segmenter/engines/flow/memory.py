"""How the process's allocator treats the large arrays of every frame."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_ARRAY_BYTES = 32 << 20
_KEPT_BYTES = 128 << 20


def reuse_freed_memory() -> bool:
    """Keep freed arrays for the next frame instead of giving them back to the system.

    By default glibc maps every array of more than some 100 KB afresh, and clearing those pages
    takes as long as the arithmetic on them. The process may hold up to 128 MB more when idle.

    Returns:
        Whether the C library took the settings; False where it is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    taken = mallopt(_MMAP_THRESHOLD, _LARGEST_ARRAY_BYTES), mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    return all(taken)
