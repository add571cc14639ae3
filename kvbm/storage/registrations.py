"""Registrations: the handles that others keep on a storage, and their end.

What this is
    A list of handles by key, in the order in which they came. Whoever registers later
    may build on who was there before, so the release goes backwards.

Interface, as rules of use
    * release() once, before the memory goes. Afterwards add() and find() refuse.
    * A handle that fails to release is logged and handed back; the others are released.

Clauses: KV-SHD-01, KV-SHD-03
"""

from __future__ import annotations

import logging
import threading

from kvbm.errors import HandleNotFound, RegistrationKeyExists, StorageClosed
from kvbm.storage.base import RegistrationHandle

logger = logging.getLogger(__name__)


class Registrations:
    """The handles of one storage. `name` is what errors call it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handles: dict[str, RegistrationHandle] = {}
        self._open = True
        self._lock = threading.Lock()

    def add(self, key: str, handle: RegistrationHandle) -> None:
        """Keep `handle` under `key`. O(1)."""
        # The lock closes the window in which a handle could come after release() has looked.
        with self._lock:
            if not self._open:
                raise StorageClosed(self._name)
            if key in self._handles:
                raise RegistrationKeyExists(key)
            self._handles[key] = handle

    def find(self, key: str) -> RegistrationHandle:
        """Give the handle of `key`. O(1)."""
        with self._lock:
            if not self._open:
                raise StorageClosed(self._name)
            if key not in self._handles:
                raise HandleNotFound(key)
            return self._handles[key]

    def __contains__(self, key: str) -> bool:
        return key in self._handles

    def keys(self) -> tuple[str, ...]:
        """Give all keys, oldest first."""
        with self._lock:
            return tuple(self._handles)

    def release(self) -> list[str]:
        """Release every handle, the last one first; give the keys of those that failed."""
        with self._lock:
            self._open = False
            handles, self._handles = self._handles, {}
        failed = []
        for key, handle in reversed(handles.items()):
            try:
                handle.release()
            except Exception:
                logger.exception("the handle %r of %s storage failed to release", key, self._name)
                failed.append(key)
        return failed
