"""The result and the summary in a spell's artifact: the two things that are unpacked, with tongs."""

from __future__ import annotations

import io
import json
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import cast

import pytest
from django.core.files.base import ContentFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casts.execution import results, unzip
from casts.models import Artifact, Spell
from core import limits
from core.strict_json import storable


class Stored:
    """A stored artifact's bytes, without a database."""

    def __init__(self, content: bytes, *, name: str = "spell-result", file_name: str = "spell-result.zip") -> None:
        self.name, self.file_name = name, file_name
        self.file = ContentFile(content)


def zipped(method=zipfile.ZIP_DEFLATED, **members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in (members or {"result.json": b"{}"}).items():
            archive.writestr(name, content)
    return packed.getvalue()


def result(content, method=zipfile.ZIP_DEFLATED):
    return zipped(method, **{"result.json": content})


def spell(schema=None, **fields):
    return Spell(key="greet", output_schema=schema, **fields)


def handed_back(content, schema=None, *, fields=None, **names):
    return results.read(cast(Artifact, Stored(content, **names)), spell(schema, **fields or {}))


def read(content, schema=None, **names):
    found = handed_back(content, schema, **names)
    assert found.unreadable == ""
    return found.output, found.problems


def unreadable(content, schema=None):
    found = handed_back(content, schema)
    assert (found.output, found.problems) == (None, [{"pointer": "/output", "detail": found.unreadable}])
    return found.unreadable


@pytest.mark.parametrize("value", [{"greeting": "Hello, Ada"}, [], 5, "text", None, {"größe": "🧙"}])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_result_is_read_out_of_the_zip(value, method):
    assert read(result(json.dumps(value), method)) == (value, [])


@pytest.mark.parametrize("name", ["result.json", "spell-result", "any.txt"])
def test_an_unzipped_upload_is_the_result_whatever_its_name(name):
    assert read(b'{"a": 1}', name=name, file_name=name) == ({"a": 1}, [])
    assert handed_back(b"Hello", name=name).unreadable.startswith(f"{name} is not JSON")


def test_a_spell_says_which_file_of_which_artifact_is_its_result():
    fields = {"result_artifact": "report", "result_file": "out/größe.json"}
    packed = zipped(
        **{"out/größe.json": b'{"a": 1}', "result.json": b"{}", "out/summary.md": b"# Hi", "summary.md": b"no"}
    )
    found = handed_back(packed, fields=fields)
    assert (found.output, found.summary) == ({"a": 1}, "# Hi")
    told = handed_back(zipped(**{"out/größe.json": b"x" * 300 * 1024}), fields=fields).unreadable
    assert (
        told == f"out/größe.json is larger than {limits.RESULT_BYTES} bytes. Keep bulk in other files of the artifact."
    )
    [broken] = results.read(None, spell({"type": "object"}, **fields)).problems
    assert broken["detail"] == "The run left no out/größe.json in an artifact named report."


@pytest.mark.parametrize(
    ("content", "summary", "note"),
    [
        ("# Größe 🧙\n\n<script>x</script>\n".encode(), "# Größe 🧙\n\n<script>x</script>", ""),
        ("\ufeff# Hi".encode("utf-16-le"), "# Hi", ""),
        (b" \n\n", "", ""),
        (b"x" * limits.SUMMARY_BYTES, "x" * limits.SUMMARY_BYTES, ""),
        (b"x" * (limits.SUMMARY_BYTES + 1), "", f"summary.md is larger than {limits.SUMMARY_BYTES} bytes."),
        (b" " * 50_000_000, "", f"summary.md is larger than {limits.SUMMARY_BYTES} bytes."),
        (b"\xff\xff", "", "summary.md is not UTF-8: invalid start byte at byte 0."),
        (b"a\0b", "", "summary.md holds a NUL character."),
    ],
    ids=["markdown", "utf-16", "blank", "largest", "one byte more", "bomb", "no text", "nul"],
)
def test_a_summary_is_read_beside_the_result_and_a_bad_one_breaks_nothing(content, summary, note):
    found = handed_back(zipped(**{"result.json": b"{}", "summary.md": content}), {"type": "object"})
    assert (found.output, found.problems, found.summary, found.note) == ({}, [], summary, note)


def test_a_bad_result_takes_no_summary_with_it():
    found = handed_back(zipped(**{"result.json": b"no", "summary.md": b"# Hi"}))
    assert found.unreadable
    assert found.summary == "# Hi"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_as_powershell_writes_it_is_no_part_of_the_text(encoding):
    value = {"größe": "🧙", "text": "\ufeff inside it stays"}
    assert read(result(json.dumps(value, ensure_ascii=False).encode(encoding))) == (value, [])


def test_other_files_are_not_results():
    assert read(zipped(**{"other.json": b'{"a": 1}', "deep/result.json": b"{}"})) == (None, [])
    assert results.read(None, spell()) == results.Result()


def test_a_missing_result_breaks_a_schema_and_nothing_else():
    for absent in (None, Stored(zipped(other=b""))):
        [broken] = results.read(cast(Artifact | None, absent), spell({"type": "object"})).problems
        assert "result.json" in broken["detail"]
        assert "spell-result" in broken["detail"]


def test_what_breaks_the_output_schema_is_told_by_its_place():
    schema = {"properties": {"a": {"type": "integer"}, "b": {"items": {"type": "string"}}}, "required": ["c"]}
    output, problems = read(result(b'{"a": "x", "b": ["y", 1]}'), schema)
    assert output == {"a": "x", "b": ["y", 1]}
    assert sorted(p["pointer"] for p in problems) == ["/output", "/output/a", "/output/b/1"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"Hello",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b"9" * 5000,
        b"[" * 101 + b"]" * 101,
        b"[" * 300 + b"]" * 300,
        b"[" * 990 + b"]" * 990,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
)
def test_what_is_no_json_that_we_can_keep_is_a_problem_with_or_without_schema(content):
    for schema in (None, {}, {"type": "object"}):
        assert unreadable(result(content), schema).startswith("result.json ")


def test_text_that_only_looks_like_nul_is_fine():
    assert read(result(b'{"a": "\\\\u0000"}')) == ({"a": "\\u0000"}, [])


def test_the_largest_result_is_read_and_one_byte_more_is_not():
    most = b'"' + b"x" * (limits.RESULT_BYTES - 2) + b'"'
    assert read(result(most))[1] == []
    assert "larger than" in unreadable(result(most[:-1] + b'x"'))


def test_a_bomb_is_cut_off_while_it_is_read():
    bomb = result(b" " * 100 * 1024 * 1024)
    assert len(bomb) < 400_000
    assert "larger than" in unreadable(bomb)


def test_a_bomb_that_lies_about_its_size_is_cut_off_too():
    bomb = bytearray(result(b" " * 10 * 1024 * 1024))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = bomb.index(mark) + offset
        bomb[at : at + 4] = struct.pack("<I", 2)
    assert unreadable(bytes(bomb))


def damaged(content):
    """A zip whose table is whole and whose data is not."""
    packed = bytearray(content)
    start = packed.index(b"result.json") + len("result.json")
    packed[start : start + 12] = b"\x00\xff" * 6
    return bytes(packed)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_is_a_problem_and_never_an_exception(method):
    assert "can't be unpacked" in unreadable(damaged(result(b'{"a": "' + b"x" * 100 + b'"}', method)))


def test_an_encrypted_member_is_a_problem():
    packed = bytearray(result(b"{}"))
    packed[packed.index(b"PK\x03\x04") + 6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    assert "can't be unpacked" in unreadable(bytes(packed))


def test_an_unknown_compression_is_a_problem():
    packed = bytearray(result(b"{}"))
    packed[packed.index(b"PK\x03\x04") + 8] = 77
    packed[packed.index(b"PK\x01\x02") + 10] = 77
    assert "can't be unpacked" in unreadable(bytes(packed))


def pack(*members: tuple[bytes, bytes], method: int = 0, entries: int | None = None, size: int | None = None) -> bytes:
    """A zip written by hand, whose last record may lie about its directory."""
    data, directory = b"", b""
    for name, content in members:
        sizes = (zlib.crc32(content), len(content), len(content), len(name))
        directory += unzip.ENTRY.pack(b"PK\1\2", 20, 20, 0, method, 0, 33, *sizes, 0, 0, 0, 0, 0, len(data)) + name
        data += unzip.MEMBER.pack(b"PK\3\4", 20, 0, method, 0, 33, *sizes, 0) + name + content
    count = len(members) if entries is None else entries
    size = len(directory) if size is None else size
    return data + directory + unzip.END.pack(b"PK\5\6", 0, 0, count, count, size, len(data), 0)


RESULT = (b"result.json", b"{}")
MANY = [RESULT, *((b"%d" % number, b"") for number in range(limits.ZIP_ENTRIES))]
LONG_NAMES = [RESULT, *((b"n" * 60_000, b"") for _ in range(limits.ZIP_DIRECTORY_BYTES // 60_000 + 1))]
EMPTY_BLOCKS = b"\x00\x00\x00\xff\xff" * 400_000
WITH_LOCATOR = pack(RESULT)[: -unzip.END.size] + unzip.ZIP64_LOCATOR_MARK + bytes(16) + pack(RESULT)[-unzip.END.size :]
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {  # each made when it is used: some take a second
    "bzip2": (lambda: zipped(zipfile.ZIP_BZIP2, **{"result.json": b" " * 50_000_000}), "packed with bzip2"),
    "lzma": (lambda: zipped(zipfile.ZIP_LZMA, **{"result.json": b" " * 50_000_000}), "packed with LZMA"),
    "other method": (lambda: pack(RESULT, method=93), "packed with Zstandard"),
    "too many files": (lambda: pack(*MANY), "files"),
    "a long directory": (lambda: pack(*LONG_NAMES), "bytes of directory"),
    "fewer than there are": (lambda: pack(RESULT, RESULT, entries=1), "directory is damaged"),
    "more than there are": (lambda: pack(RESULT, entries=3), "directory ends too early"),
    "a directory elsewhere": (lambda: pack(RESULT, size=7), "not where it says"),
    "zip64 by its number": (lambda: pack(RESULT, entries=0xFFFF), "zip64"),
    "zip64 by its locator": (lambda: WITH_LOCATOR, "zip64"),
    "twice": (lambda: pack(RESULT, (b"result.json", b"[]")), "more than once"),
    "nothing for long": (lambda: pack((b"result.json", EMPTY_BLOCKS), method=8), "ends too early"),
    "no directory": (lambda: pack(RESULT)[:40], "no directory"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_zip_is_a_problem_that_says_which_and_costs_no_memory(name):
    pack_it, why = BOMBS[name]
    content = pack_it()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = unreadable(content)
    assert told.startswith("result.json can't be unpacked: ")
    assert why in told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB


def overlapping() -> bytes:
    """Two entries whose data is the same bytes, as in a zip that is its own bomb."""
    twins = bytearray(pack(RESULT, (b"other.json", b"{}")))
    at = twins.index(b"PK\1\2", twins.index(b"PK\1\2") + 1) + 42
    twins[at : at + 4] = bytes(4)
    return bytes(twins)


def test_entries_that_share_their_data_are_no_matter_as_one_alone_is_read():
    assert read(overlapping()) == ({}, [])


@pytest.mark.parametrize(
    "name", ["../result.json", "/result.json", "..\\result.json", "a/result.json", "result.json\0", "\u202eresult.json"]
)
def test_only_a_file_of_exactly_that_name_is_the_result(name):
    assert read(pack((name.encode(), b"{}"))) == (None, [])


def test_data_that_runs_into_the_directory_is_a_problem():
    packed = bytearray(pack(RESULT))
    at = packed.index(b"PK\1\2") + 20
    packed[at : at + 4] = struct.pack("<I", 500)  # bytes of packed data
    assert "runs into its directory" in unreadable(bytes(packed))


GOOD = [result(b'{"a": "' + b"xyz" * 20 + b'"}', method) for method in (0, 8)]


@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    st.data(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_broken_zip_stops_a_cast_from_ending(content, changes, data):
    broken = bytearray(content)
    for place, value in changes:
        broken[place % len(broken)] = value
    cut = data.draw(st.integers(0, len(broken)))
    for candidate in (bytes(broken), bytes(broken[:cut])):
        found = handed_back(candidate)
        assert bool(found.problems) == bool(found.unreadable)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_named_result_json_are_read_or_refused(content):
    found = handed_back(content, file_name="result.json")
    assert bool(found.problems) == bool(found.unreadable)
    storable(found.output)


def test_the_fake_artifact_has_what_the_real_one_has():
    fields = {field.name for field in Artifact._meta.get_fields()}
    assert {"name", "file", "file_name"} <= fields
