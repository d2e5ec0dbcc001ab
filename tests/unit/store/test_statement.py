"""SQL is read just far enough: ends, data and formats are found, and nothing inside literals is."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.endpoint.faults import Fault
from store.endpoint.statement import Statement, read


@pytest.mark.parametrize(
    ("sql", "verb", "format_"),
    [
        ("select 1", "SELECT", None),
        ("select 1;", "SELECT", None),
        ("select 1 ; -- done", "SELECT", None),
        ("-- first\nselect ';' /* ; */ as `a;b`, \"c;d\", $x$ ; $x$", "SELECT", None),
        ("select 'it\\'s; ', 'it''s;'", "SELECT", None),
        ("select 1 format JSON", "SELECT", "JSON"),
        ("select 1\n FORMAT Native", "SELECT", "Native"),
        ("select 1 format TSV settings max_threads = 1", "SELECT", "TSV"),
        ("select format from t", "SELECT", None),
        ("select format from (select 1 as format)", "SELECT", None),
        ("select format('{}', 1)", "SELECT", None),
        ("(select 1)", "SELECT", None),
        ("with 1 as x select x", "WITH", None),
        ("show tables", "SHOW", None),
        ("select {a:String} format CSV", "SELECT", "CSV"),
        ("insert into t select 1", "INSERT", None),
        ("insert into t values (1, 'a;b'), (2, 'FORMAT TSV')", "INSERT", None),
        ("create table t (a String) engine = Memory", "CREATE", None),
    ],
)
def test_a_statement_without_data_is_kept_whole(sql: str, verb: str, format_: str | None) -> None:
    found = read(b"", sql.encode())
    assert (found.verb, found.format, found.data) == (verb, format_, None)
    assert found.text == sql or sql.startswith(found.text + ";")


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; select 2",
        "select 1;;select 2",
        "select ';'; drop table t",
        "insert into t values (1); drop table t",
        "insert into t select 1; drop table t",
        "select 1 -- a\n; select 2",
        "select 1 format TSV; select 2",
    ],
)
def test_a_second_statement_is_refused(sql: str) -> None:
    with pytest.raises(Fault) as raised:
        read(b"", sql.encode())
    assert raised.value.code == 62


@pytest.mark.parametrize("sql", ["", " ", "-- nothing", ";", "/* */ ;"])
def test_no_statement_is_refused(sql: str) -> None:
    with pytest.raises(Fault, match="Empty query"):
        read(b"", sql.encode())


@pytest.mark.parametrize(
    "sql", ["select 1 into outfile '/tmp/x'", "insert into t from infile '/etc/passwd' format TSV"]
)
def test_files_of_the_server_are_refused(sql: str) -> None:
    with pytest.raises(Fault) as raised:
        read(b"", sql.encode())
    assert raised.value.code == 48


@given(st.binary())
def test_data_of_an_insert_is_kept_byte_for_byte(data: bytes) -> None:
    expected = Statement("INSERT INTO t (a) ", "INSERT", "Native", data)
    assert read(b"", b"INSERT INTO t (a) FORMAT Native\n" + data) == expected
    assert read(b"INSERT INTO t (a) FORMAT Native", data) == expected


def test_settings_stand_before_the_format_of_an_insert() -> None:
    found = read(b"insert into t settings async_insert = 0 format JSONEachRow", b'{"a": 1}')
    assert found.text == "insert into t settings async_insert = 0 "
    assert found.data == b'{"a": 1}'


def test_values_may_come_in_the_body() -> None:
    assert read(b"insert into t values", b"(1), (2)").text == "insert into t values\n(1), (2)"


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Fault, match="not UTF-8 at byte 8"):
        read(b"", b"select '\xff'")


@given(st.text(alphabet="'\"`\\;-/*$ax \n"))
def test_reading_ends_and_never_fails_otherwise(text: str) -> None:
    with suppress(Fault):
        assert read(b"", ("select " + text).encode()).verb == "SELECT"
