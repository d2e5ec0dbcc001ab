"""A preview for people: a table of profiles, bars for scores, examples.

Invariant: figures come in as data; nothing here asks the store.
"""

from collections.abc import Iterator

from kintsugi.preview import Band, Effect, Example, Moved, Preview, Shown

_BAR = 24
_SAID = {
    "unchanged": "unchanged",
    "resized": "lose or gain excluded identifiers",
    "merged": "merged",
    "split": "split",
    "regrouped": "merged and split at once",
    "created": "new: identifiers no longer excluded",
    "gone": "gone: their identifiers excluded",
}


def text(preview: Preview) -> str:
    """The preview as lines."""
    return "\n".join(_lines(preview))


def _lines(preview: Preview) -> Iterator[str]:
    yield f"{preview.workspace}: {preview.after} (the files) beside {preview.before} (in force), as of {preview.as_of}"
    yield ""
    yield f"{'profiles':<36}{'before':>12}{'after':>12}"
    for change in preview.changes:
        if change.before or change.after or change.kind == "unchanged":
            yield f"  {_SAID[change.kind]:<34}{change.before:>12,}{change.after:>12,}"
    before, after = (sum(getattr(c, side) for c in preview.changes) for side in ("before", "after"))
    yield f"  {'all':<34}{before:>12,}{after:>12,}"
    yield f"{'identifiers that do not cluster':<36}{preview.excluded.before:>12,}{preview.excluded.after:>12,}"
    for effect in preview.effects:
        yield ""
        yield from _effect(effect)
    if preview.stages:
        yield ""
        yield "stages"
        for old, new, count in preview.stages:
            yield f"  {old or '(none)'} → {new or '(none)'}  {count:,}"
    if preview.moved:
        yield ""
        yield "examples of changed scores and stages"
        for moved in preview.moved:
            yield from _moved(moved)
    for example in preview.examples:
        yield ""
        yield from _example(example)
    yield ""
    yield f"digest after  {preview.digest}"


def _effect(effect: Effect) -> Iterator[str]:
    yield f"{effect.name} score: rises for {effect.rises:,}, falls for {effect.falls:,} profiles that stay one"
    most = max((max(band.before, band.after) for band in effect.bands), default=0)
    for band in effect.bands:
        bars = (f"{_bar(count, most)} {count:>9,}" for count in (band.before, band.after))
        yield f"  {_range(band):>16}  {'  '.join(bars)}"


def _range(band: Band) -> str:
    if band.low is None and band.high is None:
        return "all"
    if band.low is None:
        return f"below {band.high:,g}"
    return f"from {band.low:,g}" if band.high is None else f"{band.low:,g} to {band.high:,g}"


def _bar(count: int, most: int) -> str:
    """A bar of up to _BAR characters; what is not nothing is seen."""
    length = round(_BAR * count / most) if most else 0
    return ("█" * (length or int(count > 0))).ljust(_BAR)


def _moved(moved: Moved) -> Iterator[str]:
    changes = [
        f"{name} {was:,g} → {becomes:,g}" for name, (was, becomes) in moved.scores.items() if was != becomes
    ]
    old, new = moved.stage
    if old != new:
        changes.append(f"stage {old or '(none)'} → {new or '(none)'}")
    yield f"  {moved.profile.profile_id[:8]:<10}{', '.join(changes)}"
    yield f"  {'':<10}{_names(moved.profile)}"


def _names(profile: Shown) -> str:
    more = profile.count - len(profile.identifiers)
    return ", ".join(profile.identifiers) + (f" and {more:,} more" if more > 0 else "")


def _example(example: Example) -> Iterator[str]:
    yield f"example: {_SAID[example.kind]}"
    for side, profiles in (("before", example.before), ("after", example.after)):
        for profile in profiles or [Shown("", ["nobody"], 0)]:
            yield f"  {side:<7}{profile.profile_id[:8]:<10}{_names(profile)}"
