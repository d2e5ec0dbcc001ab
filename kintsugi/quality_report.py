"""The results of `kintsugi quality` for people: a table for the terminal, and one HTML page.

Invariant: the page has no script and no link to another host, every text in it is escaped, and it is readable in
light and dark, on paper and aloud.
"""

from html import escape

from kintsugi.quality import Result

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --bad: #c62828; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #81c784; } }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.broken { color: var(--bad); font-weight: 600; } .ok { color: var(--good); }
"""


def text(results: list[Result]) -> str:
    """The results as a table for people: what is broken first in its suite, figures beside bounds."""
    width = max((len(result.expectation) for result in results), default=0)
    lines = []
    for workspace in dict.fromkeys(result.workspace for result in results):
        mine = [result for result in results if result.workspace == workspace]
        broken = sum(not result.is_met for result in mine)
        lines.append(f"{workspace}: {len(mine)} expectations, {broken} broken")
        for suite in dict.fromkeys(result.suite for result in mine):
            lines.append(f"  {suite}")
            for result in sorted((r for r in mine if r.suite == suite), key=lambda r: r.is_met):
                mark = "ok    " if result.is_met else "BROKEN"
                seen = result.error or f"{shown(result)} ({result.expected})"
                lines.append(f"    {mark} {result.expectation:<{width}}  {seen}")
                if not result.is_met:
                    lines.append(f"           {result.says}")
    return "\n".join(lines)


def shown(result: Result) -> str:
    """What was observed, for people."""
    if result.observed is None:
        return "not known"
    number = f"{result.observed:,.3f}".rstrip("0").rstrip(".")
    return f"{number} rows" if result.expected == "0 rows" else number


def page(results: list[Result]) -> str:
    """The page; UTF-8 text."""
    parts = [_workspace(name, results) for name in dict.fromkeys(result.workspace for result in results)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Data quality</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Data quality</h1>\n"
        + "".join(parts)
        + "</main>\n</body>\n</html>\n"
    )


def _workspace(name: str, results: list[Result]) -> str:
    mine = [result for result in results if result.workspace == name]
    broken = sum(not result.is_met for result in mine)
    verdict = (
        f"{broken} of {len(mine)} expectations are broken"
        if broken
        else f"all {len(mine)} expectations are met"
    )
    suites = dict.fromkeys(result.suite for result in mine)
    return (
        f"<h2>{escape(name)}</h2>\n<p>{mine[0].ran_at:%Y-%m-%d %H:%M} UTC: {verdict}.</p>\n"
        + "".join(_suite(suite, [result for result in mine if result.suite == suite]) for suite in suites)
    )  # fmt: skip


def _suite(suite: str, results: list[Result]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in ("", "Expectation", "Found", "Expected"))
    rows = "".join(_row(result) for result in sorted(results, key=lambda result: result.is_met))
    return (
        f"<table>\n<caption>{escape(suite.replace('_', ' '))}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )


def _row(result: Result) -> str:
    mark = '<td class="ok">ok</td>' if result.is_met else '<td class="broken">broken</td>'
    return (
        f"<tr>{mark}<td>{escape(result.says)}<br><code>{escape(result.expectation)}</code></td>"
        f'<td class="number">{escape(result.error or shown(result))}</td>'
        f'<td class="number">{escape(result.expected)}</td></tr>\n'
    )
