"""Every mutation finds what it takes away; whether a test notices is tried by `python -m tests.mutations`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutations.changes import NotOnce, before_its_transaction, drop, mutated, reword, swap, without
from tests.mutations.guards import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[1]

ATOMIC = "with transaction.atomic():"
GUARD = '''
def end(cast, to):
    """End it."""
    with transaction.atomic():
        note(cast)
        done = cast.mine().filter(status__in=OPEN, pk=cast.pk).update(status=to)
        if not done and cast.age > 5:
            tell("do not", cast)
        return cast.mine().exists() and done
'''


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_every_mutation_finds_its_place_and_its_tests(mutation: Mutation) -> None:
    _, before, after = mutated(ROOT, mutation.target, mutation.change)
    assert before != after
    compile(after, mutation.target, "exec")
    assert [file for file in mutation.tests if not (ROOT / file).is_file()] == []


def test_their_names_tell_them_apart() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len({*names}) == len(names)


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (without("status__in"), "status__in=OPEN, ", ""),
        (without("status", of="update"), "update(status=to)", "update()"),
        (drop("note"), "note(cast)", "pass"),
        (drop("cast"), None, "2 places"),
        (swap("_c.age > _n", "False"), "cast.age > 5", "False"),
        (swap("not _x and _y", "_y"), "not done and cast.age > 5", "cast.age > 5"),
        (swap("_c.filter(status__in=_s, pk=_pk)", "_c.of(_s)"), ".filter(status__in=OPEN, pk=cast.pk)", ".of(OPEN)"),
        (swap("_c.filter(status__in=_s, pk=_s)", "_c.of(_s)"), None, "0 places"),
        (swap("_c.mine()", "everybody()"), None, "2 places"),
        (reword("do not", "do"), "do not", "do"),
        (before_its_transaction("note"), f"    {ATOMIC}\n        note(cast)", f"    note(cast)\n    {ATOMIC}"),
        (before_its_transaction("tell"), None, "0 places"),
    ],
)  # fmt: skip
def test_a_change_is_made_at_its_one_place_or_refused(tmp_path, change, old, new):
    (tmp_path / "moves.py").write_text(GUARD)
    if old is None:
        with pytest.raises(NotOnce, match=new):
            mutated(tmp_path, "moves:end", change)
        return
    _, _, after = mutated(tmp_path, "moves:end", change)
    assert after == ast.unparse(ast.parse(GUARD.replace(old, new)))


def test_the_target_may_be_in_a_class_or_assigned_and_must_be_there(tmp_path):
    (tmp_path / "m.py").write_text("class A:\n    def f(self): return g(a=1)\nB: int = g(a=1)\nC = g(a=1)\n")
    for target in ("m:A.f", "m:B", "m:C"):
        _, before, after = mutated(tmp_path, target, without("a"))
        assert (before.count("a=1"), after.count("a=1")) == (3, 2)
    for missing in ("m:A.g", "m:D", "n:A"):
        with pytest.raises(NotOnce):
            mutated(tmp_path, missing, without("a"))
