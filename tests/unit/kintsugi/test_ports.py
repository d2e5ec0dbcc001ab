"""Ports: the documented one if it is free, else the next."""

from kintsugi.ports import free_port, listen


def test_a_taken_port_gives_the_next_free_one() -> None:
    with listen(28400) as first, listen(first.getsockname()[1]) as second:
        assert second.getsockname()[1] > first.getsockname()[1]


def test_a_port_promised_to_another_part_is_left_out() -> None:
    found = free_port(28500)
    assert free_port(28500, {found}) > found


def test_the_socket_listens_on_loopback_and_is_inheritable() -> None:
    with listen(28600) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        assert listener.get_inheritable()
