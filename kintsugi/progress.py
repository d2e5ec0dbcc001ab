"""Progress of a long command: a bar on a terminal, elsewhere a plain line every ten seconds."""

import sys
import time
from typing import Self, TextIO

_LINE_EVERY_S, _DRAW_EVERY_S, _WIDTH = 10.0, 0.1, 28


class Progress:
    """`with Progress("label", total) as p: p.at(done)`; `total` 0 means unknown. Writes to standard error."""

    def __init__(self, label: str, total: int = 0, unit: str = "", stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._unit = f" {unit}" if unit else ""
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._begun = time.monotonic()
        self._next = self._begun + (0.0 if self._is_terminal else _LINE_EVERY_S)
        self._done = 0

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done."""
        self._done = done
        self._total = self._total if total is None else total
        if time.monotonic() >= self._next:
            self._draw()
            self._next = time.monotonic() + (_DRAW_EVERY_S if self._is_terminal else _LINE_EVERY_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._draw()
        if self._is_terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self) -> None:
        seconds = max(time.monotonic() - self._begun, 1e-9)
        text = f"{self._done:,}"
        if self._total:
            share = min(1.0, self._done / self._total)
            text = f"{text} of {self._total:,}{self._unit}, {share:.0%}"
            if self._is_terminal:
                filled = int(share * _WIDTH)
                text = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {text}"
        else:
            text += self._unit
        line = f"{self._label}: {text}, {seconds:.0f} s"
        self._stream.write(f"\r{line}\x1b[K" if self._is_terminal else f"{line}\n")
        self._stream.flush()
