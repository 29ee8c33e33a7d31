"""Counts: how many tokens each sample has and where it may be cut, by one tokenizer.

    counts/TOKENIZER_DIGEST/SHARD.parquet      a row a sample, in the order of the index

In:      sources and an Encoder; the JSON members of their tars are read once, no image is.
Out:     Counts a shard, from the file where it was made before, beside the shards or in the cache
         folder (sources.py). Rows are planned from these, so no tar is read to plan.
Refused: a sample that is not what its index says, counts that contradict themselves: ValueError
         naming the shard.
See it:  interloom-train index --shards DIR

Counts depend on nothing but texts and tokenizer: not on the sequence length or the visual tokens an
image. A file of another VERSION or made of other samples is made again. A run is counted as a whole
(tokens.py), each token by the characters it stands for; a place to cut is the token that holds the
first character of a paragraph or a sentence.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any, Final

import fsspec  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
from tokenizers import Encoding

from schemas.sample import Sample
from schemas.tables import column
from training.data.index import open_parquet, read_index, read_sample
from training.data.members import Members, Range
from training.data.sources import Shard, ShardFile, Source
from training.data.tokens import Encoder, Ints, TextRun, document_length, grouped, runs_of

VERSION: Final = b"1"  # of what is counted; another is counted again
VERSION_KEY: Final = b"interloom.counts"
SAMPLES_KEY: Final = b"interloom.samples"  # digest of the shard's index
TOGETHER: Final = 256  # samples tokenised at a time
TOGETHER_BYTES: Final = 1 << 24  # of their JSON
MOST: Final = 16  # tokens and images a byte of a tar: some tokenizers spell ligatures out
FEW: Final = 4096  # samples that are counted before a process would have started

# After a full stop and closing marks, or after a line's end. Where it errs ("e.g. this") a piece
# is cut in the middle of a sentence, no more.
_SENTENCE: Final = re.compile(
    r"[.!?…][\"'”’»)\]]*\s+|[。！？][」』”）]*\s*|\n+"  # noqa: RUF001  # punctuation of texts
)

_RUN: Final = pa.struct(
    [
        column("images", pa.int32(), "images", "just before it, side by side"),
        column("tokens", pa.int32(), "tokens", "of its text; 0 behind the last text"),
        column("paragraphs", pa.list_(pa.int32()), "tokens", "places in it where one begins"),
        column("sentences", pa.list_(pa.int32()), "tokens", "places in it where one begins"),
    ]
)
COUNTS: Final = pa.schema(
    [
        column("tokens", pa.int32(), "tokens", "of its texts, BOS and EOS not counted"),
        column("images", pa.int32(), "images", "of the sample"),
        column("groups", pa.int32(), "", "of images that stand side by side"),
        column("runs", pa.list_(_RUN), "", "texts between images, in reading order"),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Of one shard. The runs are read when a sample is longer than a row."""

    tokens: Ints
    images: Ints
    groups: Ints
    runs: pa.ChunkedArray | pa.Array

    def __len__(self) -> int:
        return len(self.tokens)

    def lengths(self, image_tokens: int) -> Ints:
        """Tokens of each sample's whole sequence."""
        return document_length(self.tokens, self.images, self.groups, image_tokens)


def count_sources(
    sources: Sequence[Source],
    encoder: Encoder,
    digest: str,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Make the counts that are not there yet; the number of samples that were counted.

    `progress` gets the samples done and the samples to do. 0 workers: as many as there are cores.
    """
    missing = [
        shard for source in sources for shard in source.shards if find_counts(shard, digest) is None
    ]
    todo = sum(shard.samples for shard in missing)
    processes = min(workers or os.cpu_count() or 1, len(missing))
    done = 0
    for counted in _counted(missing, encoder, digest, 1 if todo <= FEW else processes):
        done += counted
        if progress is not None:
            progress(done, todo)
    return done


def _counted(
    shards: Sequence[Shard], encoder: Encoder, digest: str, processes: int
) -> Iterator[int]:
    """Numbers of samples as they get counted."""
    if processes <= 1:
        for shard in shards:
            yield from _count_shard(shard, encoder, digest)
        return
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        started = [pool.submit(_count_whole, shard, encoder, digest) for shard in shards]
        try:
            for ended in as_completed(started):
                yield ended.result()
        finally:
            pool.shutdown(cancel_futures=True)  # the first error ends it, not the last shard


def _count_whole(shard: Shard, encoder: Encoder, digest: str) -> int:
    return sum(_count_shard(shard, encoder, digest))


def find_counts(shard: Shard, digest: str) -> str | None:
    """The counts of a shard by a tokenizer, if they are there and are of its samples."""
    for place in _file(shard, digest).existing():
        try:
            with open_parquet(place, f"{place}: {{}}", most=shard.tar_bytes) as opened:
                metadata = opened.metadata.metadata or {}
        except ValueError:
            continue  # no Parquet: as if it were not there, and written over
        made_of = metadata.get(VERSION_KEY), metadata.get(SAMPLES_KEY)
        if made_of == (VERSION, _index_digest(shard)):
            return place
    return None


def read_counts(shard: Shard, digest: str) -> Counts:
    """The counts of a shard, which must have been made, and must not contradict themselves."""
    place = find_counts(shard, digest)
    if place is None:
        raise ValueError(
            f"{shard.tar} has no counts of tokenizer {digest}: run interloom-train index with it"
        )
    misfit = f"{place} does not fit {shard.tar} ({{}}): remove it, and it is made anew"
    with open_parquet(place, misfit, most=shard.tar_bytes) as opened:
        table = opened.read().select(COUNTS.names).cast(COUNTS)
        table.validate(full=True)
    if problem := _problem_of(table, shard):
        raise ValueError(misfit.format(problem))
    names = ("tokens", "images", "groups")
    return Counts(**{name: _numbers(table[name]) for name in names}, runs=table["runs"])


def _problem_of(table: pa.Table, shard: Shard) -> str:
    """Why counts cannot be those of a shard; "" where they can."""
    if len(table) != shard.samples:
        return f"it has {len(table):,} samples, its index {shard.samples:,}"
    lists = table["runs"].combine_chunks()
    runs = lists.flatten()
    images, tokens = (_numbers(runs.field(name)) for name in ("images", "tokens"))
    totals = {name: _numbers(table[name]) for name in ("tokens", "images", "groups")}
    if lists.null_count or runs.null_count or min(images.min(initial=0), tokens.min(initial=0)) < 0:
        return "it has a run without tokens or images, or with less than 0"
    if tokens.sum() + images.sum() > MOST * shard.tar_bytes:
        return f"it has more tokens or images than {shard.tar_bytes:,} bytes can hold"
    of_sample = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    for name, values in (("tokens", tokens), ("images", images), ("groups", images > 0)):
        summed = np.bincount(of_sample, weights=values, minlength=len(lists))
        if (summed != totals[name]).any():
            return f"the {name} of its runs do not sum up to those of its samples"
    for name in ("paragraphs", "sentences"):
        cuts = runs.field(name)
        places, sizes = _numbers(cuts.flatten()), np.diff(cuts.offsets.to_numpy())
        of_run = np.repeat(np.arange(len(runs)), sizes)
        rising = (np.diff(places) > 0) | (np.diff(of_run) > 0)
        inside = (places > 0) & (places < tokens[of_run])
        if cuts.null_count or not (rising.all() and inside.all()):
            return f"its {name} do not begin one after the other within their runs"
    return ""


def _numbers(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Its values, -1 where there is none."""
    numbers: Ints = column.fill_null(-1).to_numpy().astype(np.int64)
    return numbers


def count_of(sample: Sample, encoder: Encoder) -> Mapping[str, Any]:
    """A row of COUNTS."""
    runs = list(runs_of(sample))
    return _row(runs, encoder.encode([run.text for run in runs]))


def _file(shard: Shard, digest: str) -> ShardFile:
    return shard.file(f"counts/{digest}/{shard.name}.parquet")


def _index_digest(shard: Shard) -> bytes:
    """Of the whole file, which tells where members lie and how long texts are."""
    system, path = fsspec.core.url_to_fs(shard.index)
    return hashlib.sha256(system.cat_file(path)).hexdigest().encode()


def _count_shard(shard: Shard, encoder: Encoder, digest: str) -> Iterator[int]:
    """Read, count and keep one shard; numbers of samples as they get counted."""
    rows: list[Mapping[str, Any]] = []
    for samples in _samples(shard):
        runs = [list(runs_of(sample)) for sample in samples]
        encoded = encoder.encode([run.text for of_sample in runs for run in of_sample])
        rows += [_row(of_sample, islice(encoded, len(of_sample))) for of_sample in runs]
        yield len(samples)
    metadata = {VERSION_KEY: VERSION, SAMPLES_KEY: _index_digest(shard)}
    _file(shard, digest).keep(pa.Table.from_pylist(rows, COUNTS.with_metadata(metadata)))


def samples_of(shard: Shard) -> Iterator[Sample]:
    """The samples of a shard in order, without their images."""
    return chain.from_iterable(_samples(shard))


def _samples(shard: Shard) -> Iterator[list[Sample]]:
    rows = read_index(shard.index, ["key", "members"], tar_bytes=shard.tar_bytes)
    with closing(Members(gap=0)) as members:
        for start in range(0, rows.num_rows, TOGETHER):
            indexed = rows.slice(start, TOGETHER).to_pylist()
            places = [(row["key"], Range.of(shard.tar, row["members"][0])) for row in indexed]
            for group in grouped(places, lambda place: place[1].length, most=TOGETHER_BYTES):
                bodies = members.read([json for _, json in group])
                yield [
                    read_sample(body, key, shard.tar)
                    for (key, _), body in zip(group, bodies, strict=True)
                ]


def _row(runs: Sequence[TextRun], encoded: Iterable[Encoding]) -> Mapping[str, Any]:
    """A run whose text has no token is left out: its images stand beside the next ones."""
    counted: list[Mapping[str, Any]] = []
    waiting = 0
    for run, encoding in zip(runs, encoded, strict=True):
        waiting += run.images
        if tokens := len(encoding.ids):
            counted.append({"images": waiting, "tokens": tokens, **_cuts(run, encoding)})
            waiting = 0
    if waiting:
        counted.append({"images": waiting, "tokens": 0, "paragraphs": [], "sentences": []})
    return {
        "tokens": sum(run["tokens"] for run in counted),
        "images": sum(run["images"] for run in counted),
        "groups": len([run for run in counted if run["images"]]),
        "runs": counted,
    }


def _cuts(run: TextRun, encoded: Encoding) -> Mapping[str, list[int]]:
    """Places inside a run, in tokens; the run's own start is not among them."""
    sentences = [match.end() for match in _SENTENCE.finditer(run.text)]
    if not any(run.paragraphs) and not sentences:
        return {"paragraphs": [], "sentences": []}
    ends = np.maximum.accumulate([end for _, end in encoded.offsets])
    return {"paragraphs": _places(run.paragraphs, ends), "sentences": _places(sentences, ends)}


def _places(characters: Sequence[int], ends: Ints) -> list[int]:
    """The tokens that hold these characters."""
    places = np.unique(np.searchsorted(ends, characters, side="right"))
    return [int(place) for place in places if 0 < place < len(ends)]


def _one_thread() -> None:
    """Shards are counted side by side already."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
