"""Subjects: adapters of block managers that other people wrote, for the conformance suite.

What this is
    One file for each engine, and beside it a file of the failures that are announced. See
    `README.md` here, and `docs/conformance` for what the suite says of each.
"""
