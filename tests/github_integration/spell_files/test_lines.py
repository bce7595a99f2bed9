"""In which line of a TOML file everything is."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from github_integration.spell_files.lines import error_line, line_of, lines_of, too_many_parts

TEXT = '''\
# "a" = 1
"a.b" = """x
[no]
""""
'q' . r = 1
[t] # [x]
arr = [ 1, # ]
  "]", {y = 1, z = [
   2, {k='}'}]},
]
[[u.v]]
w = 1979-05-27T07:32:00Z
[u.v.x]
k = 'a'
[[u.v]]
m = \'\'\'
k = 3\'\'\'\'
n = {}
"\\u00e9" = { a.b = 1, c = "x\\"," }
'''
LINES = {
    **{("a.b",): 2, ("q",): 5, ("q", "r"): 5, ("t",): 6, ("t", "arr"): 7, ("t", "arr", 1): 8},
    **{("t", "arr", 2, "z", 1, "k"): 9, ("u",): 11, ("u", "v", 0, "w"): 12, ("u", "v", 0, "x", "k"): 14},
    **{("u", "v", 1): 15, ("u", "v", 1, "m"): 16, ("u", "v", 1, "n"): 18, ("u", "v", 1, "é", "a", "b"): 19},
}


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n")])
def test_everything_has_its_line(text: str) -> None:
    found = lines_of(text)
    assert {path: found.get(path) for path in LINES} == LINES
    assert line_of(found, ("u", "v", 1, "nowhere", "at all")) == 15
    assert line_of(found, ("nowhere",)) == 1


def paths_in(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path for path in [path] if path}.union(*(paths_in(one, (*path, name)) for name, one in inside))


names = st.sampled_from(["a", '"b.c"', "'d'", "e . f", '"]"'])
scalars = st.sampled_from(
    ["1", "-1.5e3", "true", "1979-05-27 07:32:00", '"#,]}"', "'\"'", '"""a\n"]""\n"""', "'''\n['''", '"""\\\n  "" """']
)
arrays = st.lists(scalars, max_size=3).map(lambda some: "[\n" + ", # ,\n".join(some) + "]")
tables = st.dictionaries(
    st.sampled_from(["x", '"y="', "z.w"]), scalars.filter(lambda text: "\n" not in text), max_size=2
)
values = scalars | arrays | tables.map(lambda some: "{" + ", ".join(f"{k} = {v}" for k, v in some.items()) + "}")


@given(
    st.lists(
        st.tuples(st.sampled_from(["[{}]", "[[{}]]"]), names, st.dictionaries(names, values, max_size=3)), max_size=5
    )
)
def test_what_a_file_holds_is_what_has_lines(parts: list[tuple[str, str, dict[str, str]]]) -> None:
    text = "".join(
        head.format(name) + " # [\n\n" + "".join(f"{k} = {v}\n" for k, v in inside.items())
        for head, name, inside in parts
    )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = lines_of(text)
    assert set(found) == paths_in(data)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = \n", 2), ("a = 1\nb = [1,\n", 2), ("[a]\n[a]\n", 2), ('x = """\n\n', 1), ("=", 1)]
)
def test_what_is_no_toml_has_a_line(text: str, line: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    assert error_line(text, caught.value) == line


MANY = ".a" * 40


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"a{MANY} = 1", 1),
        (f"b = 1\n[ a{MANY} ]", 2),
        ("b = 1\n" + " . ".join(['"\\""'] * 40) + " = 1", 2),
        ("'' . " * 40 + "a = 1", 1),
        ('b = {c = """\n\'""", a' + MANY + " = 1}", 2),  # a mark in a long text begins nothing
        (f'# a{MANY}\nb = "a{MANY}"\nc = """a{MANY}\n"a{MANY}"""\n', 0),
        (f"a{'.a' * 31} = 1", 0),
        (f"b = [{'1.5, ' * 40}]", 0),
    ],
)
def test_a_key_of_too_many_parts_is_found_without_reading_toml(text: str, line: int) -> None:
    assert too_many_parts(text) == line
    if not line:
        tomllib.loads(text)


def test_whatever_has_no_end_is_gone_through_once() -> None:
    for mark in ('"', '\\"', '"""', '\\"""', "'", "a ", "a", " ", ".", "#"):
        assert too_many_parts('"' + mark * 200_000 + "." * 40) == 0
        assert too_many_parts(mark * 200_000 + "." * 40) == 0
