"""Promises of named patterns and masks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.normalize import kind_of, mask, patterns_of
from identity.normalize.patterns import PATTERNS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[
            (value, ("placeholders",))
            for value in (
                "null",
                "NULL",
                "undefined",
                "anonymous",
                "guest",
                "NaN",
                "[object Object]",
                "true",
                "none",
                "unknown",
                '"null"',
                "'undefined'",
                "未知",
                "-1",
            )
        ],
        ("0", ("placeholders", "zeros")),
        ("00000000-0000-0000-0000-000000000000", ("zeros",)),
        ("00000000-0000-0000-0000-000000000001", ()),
        ("u-123", ()),
        ("test@test.com", ("test_addresses",)),
        ("anyone@example.com", ("test_addresses",)),
        ("a@a.com", ("test_addresses",)),
        ("noreply@shop.cn", ("role_addresses",)),
        ("info@example.com", ("role_addresses", "test_addresses")),
        ("anna.li@qq.com", ()),
        ("testa.rossa@qq.com", ()),
        ("+8613800138000", ("test_phones",)),
        ("+8612345678901", ("test_phones",)),
        ("+8613812345678", ("test_phones",)),
        ("+8618888888888", ("test_phones",)),
        ("+8617012345678", ("test_phones", "virtual_phones")),
        ("+8617112340987", ("virtual_phones",)),
        ("+12125550123", ("test_phones",)),
        ("+8613912340987", ()),
    ],
)
def test_values_that_stand_for_nobody_match_their_pattern(value: Any, expected: Any) -> None:
    assert patterns_of(value) == expected


@given(st.text(max_size=330))
def test_patterns_are_known_and_in_order(value: Any) -> None:
    found = patterns_of(value)
    assert list(found) == sorted(set(found) & set(PATTERNS))


def test_a_long_value_takes_no_time() -> None:
    patterns_of("a" * 160 + "@" + "a." * 80)
    patterns_of("test@" * 60)


def test_the_kind_names_namespace_and_patterns() -> None:
    assert kind_of("phone", ()) == "phone"
    assert kind_of("email", ("test_addresses", "role_addresses")) == "email|role_addresses,test_addresses"


@pytest.mark.parametrize(
    ("namespace", "value", "shown"),
    [
        ("phone", "+8613800138000", "138****8000"),
        ("phone", "+12125550123", "121****0123"),
        ("phone", "+862162345678;ext=90", "862****5678"),
        ("email", "anna@x.com", "a***@x.com"),
        ("user_id", "anna@x.com", "a***@x.com"),
        ("user_id", "13800138000", "138****8000"),
        ("wechat_openid", "oABCDEF1234", "****1234"),
        ("user_id", "u1", "****"),
        ("user_id", "张三", "****"),
    ],
)
def test_a_mask_shows_little(namespace: Any, value: Any, shown: Any) -> None:
    assert mask(namespace, value) == shown


@given(st.text(min_size=1, max_size=40))
def test_a_mask_never_shows_the_whole_value(value: Any) -> None:
    shown = mask("user_id", value)
    assert "*" in shown
    assert len([c for c in shown if c != "*"]) <= max(0, len(value) - 1) or "@" in value
