"""Reading NDJSON: plain or gzip, each line with its number, nothing skipped in silence."""

import gzip
import io
from pathlib import Path

import pytest

from kintsugi.ndjson import Line, events, lines
from schemas.admission import MAX_TEXT_BYTES
from schemas.errors import Problem


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def refusals(source: str) -> tuple[list[bytes], list[tuple[int, str]]]:
    refused: list[tuple[int, str]] = []
    good = list(events(lines(source), lambda line, problem: refused.append((line.number, problem.code))))
    return good, refused


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_are_numbered_and_blank_ones_count(tmp_path: Path, end: bytes, pack: type[bytes]) -> None:
    source = written(tmp_path / "f", pack(b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}' + end))
    assert list(lines(source)) == [Line(1, b'{"a":1}', False), Line(4, b'{"b":2}', False)]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(lines(written(tmp_path / "f", b""))) == []


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    source = written(tmp_path / "f.gz", gzip.compress(b"{}\n") + gzip.compress(b"[]\n"))
    assert [line.data for line in lines(source)] == [b"{}", b"[]"]


def test_standard_input_may_be_gzip_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BufferedReader(io.BytesIO(gzip.compress(b'{"a":1}\n')))

    monkeypatch.setattr("sys.stdin", Input)
    assert list(lines("-")) == [Line(1, b'{"a":1}', False)]


def test_a_bad_line_is_refused_with_its_number_and_the_others_stay(tmp_path: Path) -> None:
    source = written(tmp_path / "f", b'{"a":1}\n{"a":\n[1]\n{"a":"\xff"}\n{"b":2}\n')
    good, refused = refusals(source)
    assert good == [b'{"a":1}', b'{"b":2}']
    assert [number for number, _ in refused] == [2, 3, 4]
    assert refused[:2] == [(2, "bad_json"), (3, "not_an_object")]


def test_a_line_without_end_is_refused_without_being_held(tmp_path: Path) -> None:
    long = b'{"a":"' + b"x" * MAX_TEXT_BYTES + b'"}'
    source = written(tmp_path / "f", b"{}\n" + long + b"\n{}\n" + long)
    found = list(lines(source))
    assert [(line.number, line.is_cut) for line in found] == [(1, False), (2, True), (3, False), (4, True)]
    assert len(found[1].data) == MAX_TEXT_BYTES
    assert refusals(source) == ([b"{}", b"{}"], [(2, "event_too_large"), (4, "event_too_large")])


def test_an_object_that_holds_a_key_twice_is_handed_on_for_the_collector_keeps_it(tmp_path: Path) -> None:
    source = written(tmp_path / "twice", b'{"a":1,"a":2}\n{"a":NaN}\n[{"a":1,"a":2}]\n')
    assert refusals(source) == ([b'{"a":1,"a":2}'], [(2, "bad_number"), (3, "not_an_object")])


@pytest.mark.parametrize("cut", [5, 30, -1])
def test_a_damaged_gzip_file_names_the_place(tmp_path: Path, cut: int) -> None:
    source = written(tmp_path / "f.gz", gzip.compress(b'{"a":1}\n' * 1000)[:cut])
    with pytest.raises(Problem, match=r"f\.gz:\d+.*damaged") as found:
        list(lines(source))
    assert found.value.code == "bad_encoding"


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(lines(str(tmp_path / "none")))
