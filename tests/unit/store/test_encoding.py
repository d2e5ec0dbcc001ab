"""Bodies are packed and unpacked; what grows beyond measure or is cut is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.endpoint.encoding import ENCODINGS, chosen, pack, unpack
from store.endpoint.faults import Fault
from store.endpoint.forms import read_form


@given(st.binary(), st.sampled_from(ENCODINGS))
def test_what_was_packed_is_unpacked(body: bytes, encoding: str) -> None:
    assert unpack(pack(body, encoding), encoding, 10_000) == body


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip"])
def test_frames_in_a_row_are_one_body(encoding: str) -> None:
    assert unpack(pack(b"ab", encoding) + pack(b"cd", encoding), encoding, 10) == b"abcd"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_that_grows_too_large_is_refused(encoding: str) -> None:
    with pytest.raises(Fault, match="larger than 1000"):
        unpack(pack(bytes(1_000_000), encoding), encoding, 1000)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_cut_body_is_refused(encoding: str) -> None:
    with pytest.raises(Fault) as raised:
        unpack(pack(bytes(range(256)) * 10, encoding)[:-5], encoding, 10_000)
    assert raised.value.code == 354


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(Fault, match="br is not supported"):
        unpack(b"", "br", 10)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("lz4,zstd,gzip,deflate", "lz4"),
        ("gzip", "gzip"),
        ("br, zstd;q=0.5", "zstd"),
        ("gzip;q=0", ""),
        ("identity", ""),
        ("", ""),
        ("br", ""),
    ],
)
def test_the_answer_is_packed_as_the_client_accepts(accepted: str, encoding: str) -> None:
    assert chosen(accepted) == encoding


def test_a_form_has_fields_and_files() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nselect\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="ids"; filename="ids"\r\nContent-Type: a/b\r\n\r\n'
        b"\r\n\x00\r\n"
        b"--x--\r\n"
    )
    form = read_form("multipart/form-data; boundary=x", body)
    assert form.fields == {"query": b"select\r\n1"}
    assert form.files == {"ids": b"\r\n\x00"}


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\nno name\r\n\r\n1\r\n--x--\r\n"])
def test_a_broken_form_is_refused(body: bytes) -> None:
    with pytest.raises(Fault):
        read_form("multipart/form-data; boundary=x", body)
