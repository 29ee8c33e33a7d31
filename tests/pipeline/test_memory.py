"""How much memory a local run may use: the machine's, or what its control groups leave it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.local import memory
from pipeline.local.memory import BASE, BYTES_A_DOCUMENT, check, group_limits, memory_here, warning
from tests.pipeline.bad_crawls import write

GIB = 1 << 30
UNLIMITED = "9223372036854771712"  # as version 1 writes it
# what Linux shows below / for a process: /proc/self/cgroup, limits by file, limits found
HOSTS = {
    "version 2": (
        "0::/slurm/job_7/step_0\n",
        {"slurm/memory.max": "max", "slurm/job_7/memory.max": f"{4 * GIB}",
         "slurm/job_7/step_0/memory.max": f"{6 * GIB}"},
        [6 * GIB, 4 * GIB],
    ),
    "version 2 in a container": ("0::/\n", {"memory.max": f"{2 * GIB}"}, [2 * GIB]),
    "version 2 without limits": ("0::/user.slice\n", {"user.slice/memory.max": "max"}, []),
    "version 1": (
        "9:cpu,cpuacct:/jobs\n4:memory:/jobs/7\n1:name=systemd:/\n0::/\n",
        {"memory/memory.limit_in_bytes": UNLIMITED,
         "memory/jobs/memory.limit_in_bytes": f"{8 * GIB}",
         "memory/jobs/7/memory.limit_in_bytes": f"{3 * GIB}"},
        [3 * GIB, 8 * GIB, int(UNLIMITED)],
    ),
    "version 1 in a container, which sees the path of its host": (
        "4:hugetlb,memory:/docker/0123abcd\n",
        {"memory/memory.limit_in_bytes": f"{2 * GIB}"},
        [2 * GIB],
    ),
    "no control groups": ("", {}, []),
}  # fmt: skip


def host(root: Path, name: str) -> Path:
    table, files, _ = HOSTS[name]
    write(root / "proc/self/cgroup", table.encode())
    for path, told in files.items():
        write(root / "sys/fs/cgroup" / path, f"{told}\n".encode())
    return root


@pytest.mark.parametrize("name", HOSTS)
def test_the_limits_of_all_groups_around_a_process_are_found(name: str, tmp_path: Path) -> None:
    assert list(group_limits(host(tmp_path, name))) == HOSTS[name][2]


def test_where_linux_is_not_there_is_no_limit(tmp_path: Path) -> None:
    assert list(group_limits(tmp_path)) == []


MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("limits", "usable"),
    [
        ([], MACHINE),
        ([MACHINE + 1, int(UNLIMITED)], MACHINE),
        ([MACHINE - 1, MACHINE], MACHINE - 1),
    ],
)
def test_the_smaller_of_machine_and_limits_counts(
    limits: list[int], usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "group_limits", lambda _: iter(limits))
    assert memory_here() == usable


def test_one_document_more_than_fits_is_refused_with_number_limit_and_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "group_limits", lambda _: iter([BASE + 7 * BYTES_A_DOCUMENT]))
    check(7)
    with pytest.raises(
        ValueError, match=r"8 documents, but the 0\.5 GiB .* can filter 7 .* runner"
    ):
        check(8)
    assert warning(7 * memory.BYTES_A_PAGE) == ""
    assert "may hold 8 pages; the 0.5 GiB that this process may use" in warning(
        8 * memory.BYTES_A_PAGE
    )
