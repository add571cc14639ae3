"""Pipe: one program, asked line by line, with a deadline for every answer.

What this is
    A child process that reads one JSON object per line and answers each with one JSON
    object per line. It knows nothing of blocks; `process` does.

Interface, as rules of use
    * `ask(operation, arguments)` sends a request and gives the whole answer, an object that
      has the request's id.
    * What the *adapter* does wrong (no JSON, another id, a line without end) is an
      `AdapterError`: nothing was learned about the manager behind it.
    * When the program dies or stays silent, that is a find: `ProgramFailed`, with what it
      last wrote to stderr.
    * After either, the program is gone. `stop()` is for the rest, and idempotent.

Clauses: KV-LIV-04
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final

LONGEST_REQUEST: Final = 60_000
"""Bytes. It fits into an empty pipe, so that writing it never waits for the program."""

LONGEST_ANSWER: Final = 1_000_000
"""Bytes."""

_TAIL: Final = 2_000
"""Bytes of stderr that a report shows."""


class AdapterError(BaseException):
    """The adapter does not keep the protocol. The status of a run is ERROR, not FAIL.

    It is no `Exception`: who takes whatever a subject raises for an outcome of the subject
    must not take this for one.
    """


class ProgramFailed(Exception):
    """The program ended, or gave no answer in time. The status of a run is FAIL."""


class Pipe:
    """A running program.

    Parameters
    ----------
    command
        The program and its arguments. No shell is involved.
    deadline : seconds
        How long one answer may take.
    """

    def __init__(self, command: Sequence[str], deadline: float) -> None:
        self.deadline = deadline
        self.turn = 0
        """Of its users: one who is not the last must not ask any more."""
        self._id = 0
        self._rest = b""
        # A file for stderr, because a pipe that nobody empties would stop the program.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop()
        try:
            self._program = subprocess.Popen(  # noqa: S603  # the user's own command
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
            )
        except OSError:
            self._errors.close()
            raise
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._to, self._from = self._program.stdin, self._program.stdout
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._from, selectors.EVENT_READ)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._from.closed and self._program.poll() is None

    def ask(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Send one request, and give its answer.

        Raises
        ------
        AdapterError
            The answer is none: not JSON, not an object, of another request, or too long.
        ProgramFailed
            The program has ended, or `deadline` has passed.
        """
        self._id += 1
        request = {"id": self._id, "op": operation, "args": arguments}
        data = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        if len(data) > LONGEST_REQUEST:
            raise ValueError(f"a request may have {LONGEST_REQUEST} bytes, this has {len(data)}")
        if self._from.closed:
            raise ProgramFailed(f"{operation}: the program was stopped before")
        try:
            self._to.write(data)
        except BrokenPipeError:
            raise self._failed(operation) from None
        return self._answer(operation)

    def stop(self) -> None:
        """End the program, at once, and forget it."""
        if self._from.closed:
            return
        self._program.kill()
        self._program.wait()
        self._ready.close()
        self._from.close()
        self._to.close()
        self._errors.close()

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _answer(self, operation: str) -> dict[str, Any]:
        line = self._line(operation)
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._broken(operation, line, "this is not JSON") from None
        if not isinstance(answer, dict):
            raise self._broken(operation, line, "an answer is an object")
        if answer.get("id") != self._id:
            raise self._broken(operation, line, f"the request has id {self._id}")
        if self._rest:
            raise self._broken(operation, self._rest, "this is one answer more than was asked for")
        return answer

    def _line(self, operation: str) -> bytes:
        until = time.monotonic() + self.deadline
        while b"\n" not in self._rest:
            if len(self._rest) > LONGEST_ANSWER:
                reason = f"an answer may have {LONGEST_ANSWER} bytes"
                raise self._broken(operation, self._rest, reason)
            if not self._ready.select(max(0.0, until - time.monotonic())):
                raise self._failed(operation)
            piece = os.read(self._from.fileno(), 65_536)
            if not piece:
                raise self._failed(operation)
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _broken(self, operation: str, line: bytes, reason: str) -> AdapterError:
        shown = line[:200].decode("utf-8", "replace")
        self.stop()
        return AdapterError(f"{operation}: {reason}: {shown!r}")

    def _failed(self, operation: str) -> ProgramFailed:
        """Tell how it ended: by itself, or because it was silent for too long."""
        try:
            code = self._program.wait(0.5)
            how = f"the program ended with {code}"
        except subprocess.TimeoutExpired:
            how = f"no answer within {self.deadline:g} s"
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL))
        tail = self._errors.read().decode("utf-8", "replace").strip()
        self.stop()
        return ProgramFailed(
            f"{operation}: {how}" + (f"; stderr ends with:\n{tail}" if tail else "")
        )
