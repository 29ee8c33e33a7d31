"""Texts: the files that the user named for fetch, read once a start; they travel as their text."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.fetch.hosts.guard import HostMap
from pipeline.fetch.hosts.pace import Rates
from pipeline.fetching import Fetching


class Texts(NamedTuple):
    rates: Rates
    host_map: HostMap


def read_texts(fetching: Fetching) -> Texts:
    """Raises ValueError for a text that is not what it should be."""
    return Texts(
        rates=Rates.parse(fetching.rates),
        host_map=HostMap.parse(fetching.host_map),
    )
