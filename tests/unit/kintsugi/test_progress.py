"""Progress: a bar for people at a terminal, plain lines for logs."""

import io

from kintsugi.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_changes() -> None:
    screen = Terminal()
    with Progress("events", 200, stream=screen) as bar:
        bar.at(100)
        bar.at(200)
    assert "[##############..............] 100 of 200, 50%" in screen.getvalue()
    assert screen.getvalue().count("\n") == 1


def test_elsewhere_there_are_no_control_codes() -> None:
    log = io.StringIO()
    with Progress("events", unit="lines", stream=log) as bar:
        for done in range(1000):
            bar.at(done)
    assert log.getvalue() == "events: 999 lines, 0 s\n"
