"""Promises of normal forms: one text per identifier, and nothing that only looks like another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.normalize import normalize
from identity.normalize.phone import phone
from schemas.workspace import BUILT_IN, NamespaceSpec, parse_workspace


def form(namespace: str, value: str, region: str = "CN") -> str | None:
    return normalize(BUILT_IN[namespace], value, region)


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("13800138000", "CN", "+8613800138000"),
        ("+86 138-0013-8000", "CN", "+8613800138000"),
        ("0086 138 0013 8000", "US", "+8613800138000"),
        ("８６１３８００１３８０００", "CN", "+8613800138000"),
        (" 138\u200b0013\u00a08000 ", "CN", "+8613800138000"),
        ("+8613800138000", "US", "+8613800138000"),
        ("17012345678", "CN", "+8617012345678"),
        ("19412345678", "CN", "+8619412345678"),
        ("021-6234 5678", "CN", "+862162345678"),
        ("(021)62345678", "CN", "+862162345678"),
        ("+86 21 6234 5678 ext. 90", "CN", "+862162345678;ext=90"),
        ("021-62345678转90", "CN", "+862162345678;ext=90"),
        ("+1 (212) 555-0123", "CN", "+12125550123"),
        ("212 555 0123", "US", "+12125550123"),
        ("+44 (0) 20 7946 0958", "CN", "+442079460958"),
        ("13800138000", "US", None),
        ("88123456", "CN", None),
        ("20231101", "CN", None),
        ("00000000000", "CN", None),
        ("10086", "CN", None),
        ("call 13800138000", "CN", None),
        ("1-800-FLOWERS", "US", None),
        ("null", "CN", None),
        ("", "CN", None),
        ("1" * 2000, "CN", None),
    ],
)
def test_a_phone_number_has_one_form(written: Any, region: Any, expected: Any) -> None:
    assert form("phone", written, region) == expected


@pytest.mark.parametrize(
    ("written", "plain", "folded"),
    [
        ("Li.Lei+shop@Gmail.com", "li.lei+shop@gmail.com", "lilei@gmail.com"),
        ("lilei@googlemail.com", "lilei@googlemail.com", "lilei@gmail.com"),
        ("li.lei+shop@outlook.com", "li.lei+shop@outlook.com", "li.lei@outlook.com"),
        ("li.lei+shop@acme.cn", "li.lei+shop@acme.cn", "li.lei+shop@acme.cn"),
        ("+shop@gmail.com", "+shop@gmail.com", "+shop@gmail.com"),
        ("li.lei@gmail", None, None),
    ],
)
def test_what_a_provider_ignores_counts_unless_it_is_switched_on(
    written: str, plain: str | None, folded: str | None
) -> None:
    switched = parse_workspace("demo", "namespaces: {email: {form: provider_email}}").namespaces["email"]
    assert (form("email", written), normalize(switched, written, "CN")) == (plain, folded)


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
def test_the_short_way_for_chinese_mobiles_agrees_with_the_numbering_plan(number: Any) -> None:
    assert phone(number, "CN") == phone(f"+86 {number[:3]} {number[3:]}", "CN") == f"+86{number}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Anna@Example.COM", "anna@example.com"),
        (" a.b+c@x.co ", "a.b+c@x.co"),
        ("ａｎｎａ＠ｑｑ．ｃｏｍ", "anna@qq.com"),
        ("an\u200bna@qq。com", "anna@qq.com"),
        ("anna。li@qq.com", "anna.li@qq.com"),
        ('"anna"@x.com', "anna@x.com"),
        ("anna@münchen.de", "anna@xn--mnchen-3ya.de"),
        ("张三@例子.公司", "张三@xn--fsqu00a.xn--55qx5d"),
        ("jose\u0301@x.es", "josé@x.es"),
        ("josé@x.es", "josé@x.es"),
        ("p\u0430ul@x.com", None),
        ("anna@ex\u0430mple.com", None),
        ("\u212aate@x.com", None),
        ("ma\u017fter@x.com", None),
        ("stra\u00dfe@x.com", None),
        ("\u0130pek@x.com", None),
        ("I\u0307pek@x.com", None),
        ("anna@x.com\u00a0", "anna@x.com"),
        ("a\ufb01x@x.com", None),
        ("anna", None),
        ("@x.com", None),
        ("a@b", None),
        ("a@-b.com", None),
        ("a@b..com", None),
        ("a@1.2.3.4", None),
        ("a..b@x.com", None),
        (".a@x.com", None),
        ("a b@x.com", None),
        ('"a b"@x.com', None),
        ("a@b@x.com", None),
        ("a" * 65 + "@x.com", None),
        ("a@" + "x" * 64 + ".com", None),
        ("a@" + "x.y" * 110 + ".com", None),
        ("Anna <a@x.com>", None),
    ],
)
def test_an_email_has_one_form_and_look_alikes_have_none(written: Any, expected: Any) -> None:
    assert form("email", written) == expected


def test_dotless_i_stays_another_address() -> None:
    assert form("email", "p\u0131nar@x.com") != form("email", "pinar@x.com")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" u1 ", "u1"),
        ("U1", "U1"),
        ("u\u200b1\x00", "u1"),
        ("ｕ１", "u1"),
        ("e\u0301", "é"),
        ("  ", None),
        ("\u200b", None),
        ("x" * 321, None),
        ("x" * 320, "x" * 320),
    ],
)
def test_an_opaque_id_keeps_its_case_and_loses_what_cannot_be_seen(written: Any, expected: Any) -> None:
    assert form("user_id", written) == expected


def test_a_namespace_may_ask_for_lower_case_a_pattern_and_a_length() -> None:
    spec = NamespaceSpec("card", form="lower", pattern=r"c\d+", max_length=4)
    assert normalize(spec, "C123", "CN") == "c123"
    assert normalize(spec, "C1234", "CN") is None
    assert normalize(spec, "xC12", "CN") is None


@given(st.sampled_from(sorted(BUILT_IN)), st.text(max_size=40), st.sampled_from(["CN", "US", "ZZ"]))
def test_a_normal_form_is_its_own_normal_form_and_nothing_raises(
    namespace: Any, value: Any, region: Any
) -> None:
    once = form(namespace, value, region)
    assert once is None or form(namespace, once, region) == once


@given(st.text("ab.＠@ｘ。İſßé-", max_size=12).map(lambda s: s + "@x.com"))
def test_a_normal_email_is_its_own_normal_form(value: Any) -> None:
    once = form("email", value)
    assert once is None or form("email", once) == once
