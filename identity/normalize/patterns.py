"""Named patterns: kinds of values that stand for nobody or for many; identity.yaml says which of them block.

Invariant: which patterns a value matches depends on its normal form alone, so it is evidence. A
pattern never changes its meaning; a new meaning gets a new name.

| pattern | matches |
|---|---|
| placeholders | what programs write for "no value": null, undefined, 0, anonymous, [object Object], ... |
| zeros | zeros and dashes only, such as the nil UUID and the advertising id of who opted out |
| test_addresses | emails of examples and tests: test@test.com, anything at example.com, a@a.com |
| role_addresses | emails of a function, not of a person: info@, sales@, noreply@ |
| test_phones | 13800138000, 1xx12345678, one digit repeated ten times, the American 555-01xx |
| virtual_phones | Chinese ranges of virtual operators: 162, 165, 167, 170, 171 |
"""

import re

_PLACEHOLDERS = frozenset(
    {"null", "(null)", "<null>", "undefined", "none", "nil", "<nil>", "nan", "n/a", "na", "-", "--", ".", "?"}
    | {"0", "-1", "1", "true", "false", "yes", "no", "infinity", "-infinity", "{}", "[]", "[object]"}
    | {"[object object]", "function", "not set", "(not set)", "not available", "blank", "empty", "default"}
    | {"anonymous", "anon", "guest", "visitor", "unknown", "unidentified", "not_authenticated", "customer"}
    | {"user", "admin", "root", "test", "tester", "demo", "todo", "tbd", "xxx", "id", "uuid", "guid"}
    | {"userid", "user_id", "anonymousid", "anonymous_id", "distinctid", "distinct_id"}
    | {"email", "phone", "mobile", "无", "空", "未知", "游客", "匿名", "测试"}
)
_QUOTES = "'\"`“”‘’"
_ZEROS = re.compile(r"[0-]*0[0-]*")
_TEST_ADDRESS = re.compile(
    r"(?:test|tester|testing|demo|example|sample|fake|asdf|abc|foo|null|none|user|admin|aaa|123|qwe)\d*"
    r"@(?:test|testing|example|demo|sample|fake|asdf|abc|foo|mail|email|domain|aaa|123|localhost)\.[a-z.]+"
    r"|.*@(?:.+\.)?(?:example\.(?:com|org|net|cn)|test\.com|test\.cn|[^@]+\.(?:test|example|invalid|localhost))"
    r"|test@.*|(?P<same>[^@]{1,4})@(?P=same)\.[a-z.]+"
)
_ROLE_ADDRESS = re.compile(
    r"(?:no[-_.]?reply|do[-_.]?not[-_.]?reply|mailer-daemon|postmaster|hostmaster|webmaster|abuse|info|contact"
    r"|sales|support|service|services|help|office|admin|administrator|hr|jobs|marketing|billing|kefu)@.*"
)
_TEST_PHONE = re.compile(
    r"\+86(?:1380013800\d|1[3-9]\d12345678|1[3-9]\d00000000|1(\d)\1{9}|1234567890\d|12345678910|10000000000)"
    r"|\+1\d{3}55501\d\d"
)
_VIRTUAL_PHONE = re.compile(r"\+861(?:62|65|67|70|71)\d{8}")

_BY_SHAPE = (
    ("role_addresses", "@", _ROLE_ADDRESS),
    ("test_addresses", "@", _TEST_ADDRESS),
    ("test_phones", "+", _TEST_PHONE),
    ("virtual_phones", "+", _VIRTUAL_PHONE),
    ("zeros", "0", _ZEROS),
)  # with a character that all it matches has
PATTERNS = ("placeholders", *(name for name, *_ in _BY_SHAPE))
"""Every named pattern."""


def patterns_of(value: str) -> tuple[str, ...]:
    """Names, ascending, of the patterns that a normal form matches.

    >>> patterns_of("+8613800138000"), patterns_of('"undefined"')
    (('test_phones',), ('placeholders',))
    """
    found = ["placeholders"] if value.strip(_QUOTES).strip().casefold() in _PLACEHOLDERS else []
    found += [name for name, char, pattern in _BY_SHAPE if char in value and pattern.fullmatch(value)]
    return tuple(found)


def kind_of(namespace: str, patterns: tuple[str, ...]) -> str:
    """The namespace, then `|` and the names of the patterns when there are any: `phone|test_phones`."""
    return f"{namespace}|{','.join(sorted(patterns))}" if patterns else namespace
