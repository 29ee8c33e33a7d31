"""Host map: which names stand for an address of the user's; what cannot be one is told at once."""

from __future__ import annotations

import pytest

from pipeline.fetch.hosts.guard import HostMap

MAP = """
# for tests
*.Test        127.0.0.1:8080  # all of them
one.test      127.0.0.2
name.example  127.0.0.3
six.example   ::1
"""


def test_a_host_map_is_read_line_by_line_and_the_first_that_matches_counts() -> None:
    mapped = HostMap.parse(MAP)
    assert mapped.find("a.test") == ("127.0.0.1", 8080)
    assert mapped.find("one.test") == ("127.0.0.1", 8080)
    assert mapped.find("name.example") == ("127.0.0.3", None)
    assert mapped.find("six.example") == ("::1", None)
    assert [mapped.find(host) for host in ("test", "a.test.org", "example", "")] == [None] * 4
    assert HostMap.parse("\n# nothing\n") == HostMap()


@pytest.mark.parametrize(
    "line",
    [
        "*.test",
        "127.0.0.1",
        "*.test 127.0.0.1 8080",
        "*.test localhost",
        "*.test 127.0.0.256",
        "*.test 127.0.0.1:http",
        "*.test 127.0.0.1:-1",
        "*.test 127.0.0.1:65536",
        "*.test 127.0.0.1:0",
        "*.test :8080",
    ],
)
def test_a_line_that_is_no_pair_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 3 of the host map.*write a name") as told:
        HostMap.parse(f"ok.test 127.0.0.1\n\n{line} # why\n")
    assert line in str(told.value)


def test_a_map_allows_the_loopback_addresses_that_it_names_and_no_others() -> None:
    mapped = HostMap.parse("*.test 127.0.0.1\nlan.test 10.0.0.1\nmeta.test 169.254.169.254\n")
    assert mapped.allows("127.0.0.1")
    for address in ("127.0.0.2", "10.0.0.1", "169.254.169.254", "::1"):
        assert not mapped.allows(address)
