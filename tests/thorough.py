"""Which tests take long: `python -m tests.thorough` times them and writes thorough.txt, which FAST=1 leaves out.

Who adds or speeds up a test need not run it: what is not in the file is run. Give it when FAST=1 has become slow.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

FILE = Path(__file__).with_suffix(".txt")
SECONDS = 0.05  # as long as two common tests; the tenth part of the tests that takes longer takes half of the time


def function_of(name: str) -> str:
    """Return the name without parameters: these come and go with what they are made of."""
    return name.partition("[")[0]


def known() -> frozenset[str]:
    """Return the functions that take long."""
    return frozenset(FILE.read_text().splitlines())


class Clock:
    """What each function took, in seconds on the clock; what the fixtures took is not counted, as many share them."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[Any]:
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            self.took[function_of(item.nodeid)].append(time.perf_counter() - began)


def main() -> int:
    os.environ["FAST"] = "1"  # with as few examples
    clock = Clock()
    code = pytest.main(["-m", "not processes"], plugins=[clock])
    if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        names = sorted(name for name, took in clock.took.items() if fmean(took) > SECONDS)
        FILE.write_text("".join(f"{name}\n" for name in names))
        print(f"{len(names)} of {len(clock.took)} functions take long.")
    return code


if __name__ == "__main__":
    sys.exit(main())
