#!/usr/bin/env python3
"""A whole tiny block manager behind the protocol of `spec/protocol.md`, standard library only.

What this is
    An example of an adapter, to copy from. The pool is five lists and dicts; a real adapter
    would call a real manager in its place. Least recently released goes first; a key that
    is there already is shared.

        python spec/examples/adapter.py
"""

# An example stays bare: what its names do not say, the protocol does.
# ruff: noqa: ANN001, ANN201, ANN204, ARG002, D102, D103, T201

import json
import sys


class Refused(Exception):
    """A call was refused, and has changed nothing."""


class Pool:
    """Slots are numbers. A handle is good for one call that uses it up, and then gone."""

    def __init__(self, slots):
        self.free = list(range(slots))  # longest free first
        self.inactive = []  # least recently released first
        self.slot_of = {}  # registered key -> slot
        self.key_of = {}  # slot -> key, once it is staged
        self.handles = {}  # live handle -> slot
        self.given = 0
        self.events = []

    def allocate(self, n):
        if n > len(self.free) + len(self.inactive):
            return None
        return [self.give(self.free.pop(0) if self.free else self.evict()) for _ in range(n)]

    def stage(self, handle, key, parent=None):
        if self.state(handle) != "mutable":
            raise Refused("WrongState")
        slot = self.handles.pop(handle)
        self.key_of[slot] = key
        return self.give(slot)

    def register(self, handle):
        if self.state(handle) != "staged":
            raise Refused("WrongState")
        slot = self.handles.pop(handle)
        key = self.key_of[slot]
        if key in self.slot_of:  # somebody was first: share his block
            del self.key_of[slot]
            self.free.append(slot)
            return self.hold(key)
        self.slot_of[key] = slot
        self.events.append(["Stored", key])
        return self.give(slot)

    def match(self, keys):
        hits = next((i for i, key in enumerate(keys) if key not in self.slot_of), len(keys))
        return [self.hold(key) for key in keys[:hits]]

    def scan(self, keys):
        return [[key, self.hold(key)] for key in dict.fromkeys(keys) if key in self.slot_of]

    def release(self, handle):
        state = self.state(handle)
        slot = self.handles.pop(handle)
        if state != "registered":
            self.key_of.pop(slot, None)
            self.free.append(slot)
        elif slot not in self.handles.values():  # the last holder goes
            self.inactive.append(slot)

    def reset(self, handle):
        if self.state(handle) == "registered":
            raise Refused("WrongState")
        slot = self.handles.pop(handle)
        self.key_of.pop(slot, None)
        return self.give(slot)

    def give(self, slot):
        self.given += 1
        self.handles[f"h{self.given}"] = slot
        return f"h{self.given}"

    def hold(self, key):
        slot = self.slot_of[key]
        if slot in self.inactive:
            self.inactive.remove(slot)
        return self.give(slot)

    def evict(self):
        slot = self.inactive.pop(0)
        key = self.key_of.pop(slot)
        del self.slot_of[key]  # before the slot is handed out
        self.events.append(["Removed", key])
        return slot

    def state(self, handle):
        if handle not in self.handles:
            raise Refused("StaleHandle")
        slot = self.handles[handle]
        if slot not in self.key_of:
            return "mutable"
        return "registered" if self.slot_of.get(self.key_of[slot]) == slot else "staged"


HELLO = {
    "name": "tiny",
    "version": "1.0",
    "spec": "1.0",
    "capabilities": {"policies": ["lru"], "duplicates": ["reject"]},
}
CALLS = {"allocate", "stage", "register", "match", "scan", "release", "reset"}


def main():
    pool = None
    for line in sys.stdin:
        request = json.loads(line)
        operation, arguments = request["op"], request["args"]
        answer = {"id": request["id"]}
        try:
            if operation == "hello":
                answer["ok"] = HELLO
            elif operation == "open":
                pool, answer["ok"] = Pool(arguments["config"]["slots"]), None
            elif operation == "close":
                pool, answer["ok"] = None, None
            elif operation not in CALLS:
                raise Refused("Unsupported")
            elif pool is None:
                raise Refused("Closed")
            else:
                answer["ok"] = getattr(pool, operation)(**arguments)
                answer["events"], pool.events = pool.events, []
        except Refused as refusal:
            answer["error"] = str(refusal)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
