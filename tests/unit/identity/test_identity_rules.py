"""identity.yaml: what it says, and where it is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.limits import Limits, Refusal
from identity.rules import DEFAULT_BLOCKED_PATTERNS, IdentityRules, parse_rules
from schemas.errors import Problem

DESIGN = """\
namespaces:
  - {name: user_id,        max_per_profile: 1}
  - {name: wechat_unionid, max_per_profile: 1}
  - {name: phone,          max_per_profile: 3, shared_above: {user_id: 5, wechat_unionid: 5, wechat_openid: 10}}
  - {name: email,          max_per_profile: 5, shared_above: {user_id: 5}, with: {user_id: 1}}
  - {name: wechat_openid,  shared_above: {user_id: 5}}
  - {name: anonymous_id,   shared_above: {user_id: 5, phone: 10}, keep: latest, link_ttl: 180d}
blocked: {patterns: [zeros, test_addresses], values: [{phone: "13800138000"}, {user_id: 007}]}
"""


def parse(text: str) -> IdentityRules:
    return parse_rules(
        text,
        lambda namespace, value: f"{namespace}={value}",
        known_namespaces={"user_id", "wechat_unionid", "phone", "email", "wechat_openid", "anonymous_id"},
        known_patterns={"zeros", "test_addresses"},
    )


def test_the_example_of_the_design_reads_as_it_is_written() -> None:
    rules = parse(DESIGN)
    phone, anonymous = rules.namespaces[2], rules.namespaces[5]
    assert (phone.max_per_profile, phone.shared_above["wechat_openid"]) == (3, 10)
    assert (anonymous.keep, anonymous.link_ttl_days) == ("latest", 180)
    assert rules.namespaces[3].limits_with == {"user_id": 1}
    assert rules.blocked_ids == {"phone=13800138000", "user_id=007"}
    assert rules.blocked_patterns == {"zeros", "test_addresses"}


def test_strength_is_the_order_of_the_file_and_the_unlisted_come_last() -> None:
    rules = parse(DESIGN)
    assert [rules.strength(n) for n in ("user_id", "anonymous_id", "crm_id", "fax")] == [0, 5, 6, 6]


def test_blocked_is_the_value_itself_or_one_of_its_patterns() -> None:
    rules = parse(DESIGN)
    assert rules.is_blocked("phone=13800138000", "phone")
    assert rules.is_blocked("x", "email|plain,test_addresses")
    assert not rules.is_blocked("x", "email|plain")


def test_rules_survive_json_and_equal_rules_have_equal_json() -> None:
    rules = parse(DESIGN)
    assert IdentityRules.from_json(rules.to_json()) == rules
    reordered = DESIGN.replace(
        "{user_id: 5, wechat_unionid: 5, wechat_openid: 10}",
        "{wechat_openid: 10, wechat_unionid: 5, user_id: 5}",
    ).replace("[zeros, test_addresses]", "[test_addresses, zeros]")
    assert parse(reordered).to_json() == rules.to_json()
    assert rules.to_json().isascii()


@pytest.mark.parametrize("text", ["", "# nothing\n", "namespaces: []"])
def test_an_empty_file_blocks_what_nobody_owns(text: str) -> None:
    assert parse(text) == IdentityRules((), DEFAULT_BLOCKED_PATTERNS)


@pytest.mark.parametrize(
    ("text", "pointer", "part"),
    [
        ("namespaces:\n  - {name: phone, max_per_profil: 3}", "2:19", "did you mean max_per_profile?"),
        ("namespace: []", "1:1", "did you mean namespaces?"),
        ("namespaces:\n  - {name: fone}", "2:12", "did you mean phone?"),
        ("namespaces:\n  - {name: phone, shared_above: {user: 5}}", "2:33", "did you mean user_id?"),
        ("namespaces:\n  - {name: phone, max_per_profile: 0}", "2:36", "whole number from 1"),
        ("namespaces:\n  - {name: phone, max_per_profile: many}", "2:36", "whole number from 1"),
        ("namespaces:\n  - {name: phone, keep: newest}", "2:25", "first or latest"),
        ("namespaces:\n  - {name: phone, link_ttl: 6 months}", "2:29", "180d"),
        ("namespaces:\n  - {name: phone}\n  - {name: phone}", "3:5", "twice"),
        ("namespaces:\n  - {name: phone, name: email}", "2:19", "twice"),
        ("namespaces:\n  - {max_per_profile: 3}", "2:5", "needs a name"),
        ("namespaces: phone", "1:13", "list"),
        ("- phone", "1:1", "mapping"),
        ("blocked: {patterns: [zeroes]}", "1:22", "did you mean zeros?"),
        ("blocked: {values: [{fone: 1}]}", "1:20", "did you mean phone?"),
        ("namespaces: [", "1:14", "not YAML"),
        ("a: \x07", "", "not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, pointer: str, part: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(text)
    assert (caught.value.code, caught.value.pointer) == ("bad_rules", pointer)
    assert part in caught.value.detail


def test_a_blocked_value_that_has_no_normal_form_is_told_with_its_place() -> None:
    def identify(namespace: str, value: str) -> str:
        raise Problem("bad_text", f"{value} is not a {namespace}")

    with pytest.raises(Problem) as caught:
        parse_rules("blocked:\n  values:\n    - phone: abc\n", identify)
    assert (caught.value.code, caught.value.pointer) == ("bad_rules", "3:14")


def test_a_broken_limit_is_named_by_strength_and_max_before_with() -> None:
    limits = parse(DESIGN).limits
    two_users = limits.joined(limits.unit("user_id"), limits.unit("user_id"))
    assert limits.broken(limits.joined(two_users, limits.unit("email"))) == Refusal("limit", "user_id: 1")
    only_with = parse("namespaces: [{name: email, with: {user_id: 1}}]").limits
    two_users = only_with.joined(only_with.unit("user_id"), only_with.unit("user_id"))
    assert only_with.broken(two_users) is None
    assert only_with.broken(only_with.joined(two_users, only_with.unit("email"))) == Refusal(
        "with", "email with user_id: 1"
    )


def test_counts_are_clipped_where_more_makes_no_difference() -> None:
    limits = Limits({"crm": 4, "phone": 3, "user": 1}, {("email", "user"): 2, ("user", "phone"): 5})
    assert limits.caps == (5, 1, 6, 3)  # crm, email, phone, user


@given(
    st.dictionaries(st.sampled_from("xyz"), st.integers(1, 2)),
    st.dictionaries(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), st.integers(1, 2)),
    st.data(),
)
def test_many_clusters_break_a_limit_as_one_does(
    most: dict[str, int], most_with: dict[tuple[str, str], int], data: st.DataObject
) -> None:
    limits = Limits(most, most_with)
    width = len(limits.zero)
    counts = data.draw(st.lists(st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1))
    found = limits.breaks(np.array(counts, np.int64).reshape(len(counts), width))
    assert found.tolist() == [limits.broken(tuple(row)) is not None for row in counts]
