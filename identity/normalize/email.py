"""Email addresses: lower case, domain in ASCII (IDNA), nothing that only looks like another address.

Dots and plus tags stay, since only some providers ignore them; `provider_email` drops them for those. References:
RFC 5321, 6531; UTS 39 for mixed scripts: an address whose letters come from two scripts, or that case mapping or
compatibility folding would turn into ASCII, is no identifier, for it could take over the account of another.
"""

import re
import unicodedata

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0x3002: 0x2E}
_LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")

_IGNORES_DOTS = frozenset({"gmail.com", "googlemail.com"})
_IGNORES_TAGS = frozenset({"gmail.com", "outlook.com", "hotmail.com", "live.com", "icloud.com", "me.com"})


def email(value: str) -> str | None:
    """The normal form of an address; None when it is none, or may be a look-alike.

    >>> email(" Zhang.San+a@Example.COM "), email("张三@例子.公司"), email("p\u0430ul@example.com")
    ('zhang.san+a@example.com', '张三@xn--fsqu00a.xn--55qx5d', None)
    """
    text = value.translate(_WIDE)  # what a Chinese keyboard types; every other fold is refused below
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf")).strip()
        composed = unicodedata.normalize("NFC", text)  # folds some look-alikes itself, and makes others
        if any(_becomes_ascii(c) for c in text) or any(_becomes_ascii(c) for c in composed):
            return None
        text = unicodedata.normalize("NFKC", text)
    local, at, domain = text.strip().lower().rpartition("@")
    if len(local) > 2 and local[0] == local[-1] == '"':
        local = local[1:-1]
    ascii_domain = _domain(domain)
    if not at or ascii_domain is None or len(local.encode()) > 64 or not _LOCAL.fullmatch(local):
        return None
    return None if _mixes_scripts(local) else f"{local}@{ascii_domain}"


def provider_email(value: str) -> str | None:
    """`email` without what the provider of the mailbox ignores, where that is documented.

    >>> provider_email("Zhang.San+shop@GoogleMail.com"), provider_email("zhang.san+shop@acme.cn")
    ('zhangsan@gmail.com', 'zhang.san+shop@acme.cn')
    """
    form = email(value)
    local, _, domain = (form or "").rpartition("@")
    if domain in _IGNORES_DOTS:
        local, domain = local.replace(".", ""), "gmail.com"
    if domain in _IGNORES_TAGS:
        local = local.partition("+")[0]
    return f"{local}@{domain}" if local else form


def _becomes_ascii(char: str) -> bool:
    """True for what is not ASCII but would turn into it: Kelvin sign, long s, sharp s, dotted capital I."""
    if char.isascii():
        return False
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold())
    return any(c.isascii() for c in folded)


def _domain(domain: str) -> str | None:
    """The domain in ASCII; None when it is no public domain name."""
    if not domain.isascii():
        if any(_mixes_scripts(label) for label in domain.split(".")):
            return None
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            return None
    labels = domain.split(".")
    if len(domain) > 253 or len(labels) < 2 or not _TOP.fullmatch(labels[-1]):
        return None
    return domain if all(_LABEL.fullmatch(label) for label in labels) else None


def _mixes_scripts(text: str) -> bool:
    """True when the letters come from more than one script (first word of their Unicode names)."""
    if text.isascii():
        return False
    return len({unicodedata.name(c, "UNNAMED").split()[0].split("-")[0] for c in text if c.isalpha()}) > 1
