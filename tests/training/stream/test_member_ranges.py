"""Ranges of tars: the right bytes from disk, HTTP and S3, in few requests; errors name the tar."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.stream.stores import Store, s3_bucket, web_store
from training.data.members import Members, Range, merged

TAR = bytes(range(256)) * 40  # 10,240 bytes


@pytest.fixture(params=["file", "http", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Somewhere that holds a.tar and b.tar."""
    files = {"a.tar": TAR, "b.tar": TAR[::-1]}
    if request.param == "http":
        with web_store(files) as found:
            yield found
    elif request.param == "s3":
        with s3_bucket(files) as found:
            yield found
    elif request.param == "memory":
        fsspec.filesystem("memory").pipe({f"/tars/{name}": data for name, data in files.items()})
        yield Store(root="memory://tars/")
    else:
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        yield Store(root=f"{tmp_path}/")


def ask(store: Store, name: str, offset: int, length: int) -> Range:
    return Range(url=store.root + name, offset=offset, length=length)


def test_every_store_gives_the_bytes_of_each_range_in_the_order_asked(store: Store) -> None:
    members = Members(gap=100, pause=0)
    ranges = [
        ask(store, "b.tar", 5000, 10),
        ask(store, "a.tar", 0, 300),
        ask(store, "a.tar", 350, 7),
        ask(store, "a.tar", 350, 7),
        ask(store, "a.tar", 9000, 1240),
        ask(store, "a.tar", 9, 0),
    ]
    tars = {"a.tar": TAR, "b.tar": TAR[::-1]}
    expected = [tars[one.url.rsplit("/")[-1]][one.offset : one.end] for one in ranges]
    assert members.read(ranges) == expected
    assert members.read([]) == []
    members.close()


@pytest.mark.parametrize("offset", [10_000, 10_241, 99_999])
def test_a_range_beyond_the_end_is_an_index_that_does_not_fit_its_tar(
    store: Store, offset: int
) -> None:
    members = Members(pause=0)
    assert members.read([ask(store, "a.tar", 10_000, 240)]) == [TAR[10_000:]]
    with pytest.raises(ValueError, match=r"a\.tar at [\d,]+, 241 bytes: the tar ends at 10,240"):
        members.read([ask(store, "a.tar", offset, 241)])
    members.close()


def test_a_tar_that_is_not_there_is_told_by_name(store: Store) -> None:
    with pytest.raises(OSError, match=r"c\.tar at 7, 5 bytes"):
        Members(pause=0, attempts=2).read([ask(store, "c.tar", 7, 5)])


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 400), st.integers(0, 60)), max_size=12
    ),
    st.integers(0, 80),
)
def test_merged_ranges_hold_every_asked_one_and_no_gap_over_the_limit(
    asked: list[tuple[str, int, int]], gap: int
) -> None:
    ranges = [Range(url=url, offset=offset, length=length) for url, offset, length in asked]
    wholes = merged(ranges, gap=gap)
    assert sorted(one for inner in wholes.values() for one in inner) == sorted(set(ranges))
    for whole, inner in wholes.items():
        assert all(
            whole.offset <= one.offset and one.end <= whole.end and one.url == whole.url
            for one in inner
        )
        covered = sorted(inner, key=lambda one: one.offset)
        end = covered[0].end
        for one in covered[1:]:
            assert one.offset <= end + gap
            end = max(end, one.end)
        assert (whole.offset, whole.end) == (covered[0].offset, end)
    for one, other in zip(sorted(wholes), sorted(wholes)[1:], strict=False):
        assert one.url != other.url or other.offset > one.end + gap


def test_near_members_are_one_request_and_far_ones_two() -> None:
    with web_store({"a.tar": TAR}) as store:
        members = Members(gap=512, pause=0)
        url = store.root + "a.tar"
        members.read([Range(url=url, offset=at, length=100) for at in (0, 612, 1224)])
        assert store.asked == ["bytes=0-1323"]
        members.read([Range(url=url, offset=at, length=100) for at in (0, 613)])
        assert sorted(store.asked[1:]) == ["bytes=0-99", "bytes=613-712"]


def test_a_failing_server_is_asked_again_and_only_for_what_failed() -> None:
    with web_store({"a.tar": TAR}) as store:
        url = store.root + "a.tar"
        store.fail_next(503, 500)
        read = Members(pause=0, gap=0).read([Range(url=url, offset=7, length=9)])
        assert read == [TAR[7:16]]
        assert store.asked == ["bytes=7-15"] * 3


def test_a_connection_that_breaks_is_tried_again() -> None:
    with web_store({"a.tar": TAR}) as store:
        store.cut_next(2)
        ranges = [Range(url=store.root + "a.tar", offset=7, length=900)]
        assert Members(pause=0).read(ranges) == [TAR[7:907]]


def test_a_server_that_keeps_failing_ends_with_the_tar_the_offset_and_the_length() -> None:
    with web_store({"a.tar": TAR}) as store:
        store.fail_next(*[503] * 20)
        with pytest.raises(OSError, match=r"a\.tar at 1,007, 9 bytes: not read after 3 attempts"):
            Members(pause=0, attempts=3).read(
                [Range(url=store.root + "a.tar", offset=1007, length=9)]
            )


def test_a_server_without_ranges_is_refused() -> None:
    refused = pytest.raises(ValueError, match=r"sent 10,240 and so knows no ranges")
    with web_store({"a.tar": TAR}, ranges=False) as store, refused:
        Members(pause=0).read([Range(url=store.root + "a.tar", offset=7, length=9)])


def test_a_pickled_reader_opens_its_tars_itself(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(TAR)
    members, ranges = Members(), [Range(url=str(tmp_path / "a.tar"), offset=7, length=9)]
    members.read(ranges)
    copied = pickle.loads(pickle.dumps(members))
    members.close()  # and with it the file that the copy must not count on
    assert copied.read(ranges) == [TAR[7:16]]
    copied.close()


def held() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_more_tars_stay_open_than_allowed(tmp_path: Path) -> None:
    before = held()
    members = Members(handles=3)
    for number in range(8):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(bytes([number]) * 10)
        assert members.read([Range(url=str(path), offset=2, length=3)]) == [bytes([number]) * 3]
        assert held() <= before + 3
    members.close()
    assert held() == before


@pytest.mark.parametrize("name", ["handles", "attempts"])
def test_limits_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0: choose 1 or more"):
        Members(**{name: 0})
