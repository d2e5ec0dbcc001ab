"""Records become lines that every backend can store."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.log import lines
from pipelines.log.lines import is_trailer, lines_of, workspaces_of
from schemas.errors import Problem
from schemas.log_record import Date, Events, Item, Raw, RejectItem, Trailer, decode, encode


def batch(*texts: str) -> Events:
    items = [Item(e=msgspec.Raw(msgspec.json.encode({"x": text}))) for text in texts]
    return Events(workspace="w", source="s", received_at=1, key_generation=1, batch=items)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_a_line_is_ascii_without_line_breaks_and_decodes_to_the_record(texts: list[str]) -> None:
    record = batch(*texts)
    (line,) = lines_of([record])
    assert line.isascii()
    assert not {*b"\r\n"} & {*line}
    assert [bytes(item.e) for item in decode(line).batch] != [] or not texts
    assert msgspec.json.decode(line[9:]) == msgspec.json.decode(msgspec.json.encode(record))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=30))
def test_splitting_keeps_every_event_in_order(sizes: list[int]) -> None:
    texts = [f"{number}:" + "x" * size for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "MAX_LINE", 600)
        parts = lines_of([batch(*texts)])
    assert all(len(line) <= 600 for line in parts)
    assert [msgspec.json.decode(item.e)["x"] for line in parts for item in decode(line).batch] == texts


def test_rejected_bytes_are_split_like_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 600)
    items = [RejectItem("A" * 200, "bad_text", f"/{number}") for number in range(9)]
    parts = lines_of([Raw(workspace="w", source="s", received_at=1, items=items)])
    assert [item for line in parts for item in decode(line).items] == items


def test_what_cannot_be_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 20)
    with pytest.raises(Problem, match="body_too_large"):
        lines_of([Date(workspace="w", at=1, id="d", date="2026-07-14")])


def test_only_trailers_are_trailers() -> None:
    assert is_trailer(encode(Trailer(segment="s", workspaces=[])))
    assert not is_trailer(encode(batch('{"kind":"trailer"')))


def test_the_workspaces_of_records_are_those_they_name() -> None:
    date = Date(workspace="v", at=1, id="d", date="2026-07-14")
    assert workspaces_of([batch("a"), batch("b"), date, Trailer(segment="s", workspaces=["x"])]) == {"v", "w"}
