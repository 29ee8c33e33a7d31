"""Mutants: what must hold is broken, one line each, and a test must fail.

    python -m tests.mutants            every mutant, with the test that catches it
    python -m tests.mutants lease      those whose name holds a word

Each is made in a copy of the packages, so the tree stays as it is. A mutant that no test catches,
or whose line is not there any more, ends the command with 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
COPIED: Final = ("pipeline", "filters", "training", "schemas", "tests", "infra")
MINUTES: Final = 5  # that the tests of one mutant may take


class Mutant(NamedTuple):
    name: str
    file: str
    line: str  # a part of the file that stands there once
    broken: str
    tests: str  # files and folders in which a test catches it


MUTANTS: Final = (
    Mutant(
        "guard: any socket",
        "pipeline/fetch/hosts/guard.py",
        "if not (is_global(address[0]) or self.mapped.allows(address[0])):",
        "if False:",
        "tests/fetch/test_guard.py",
    ),
    Mutant(
        "guard: any address of a name",
        "pipeline/fetch/hosts/guard.py",
        "good = [one for one in addresses if is_global(one)]",
        "good = list(addresses)",
        "tests/fetch/test_guard.py",
    ),
    Mutant(
        "guard: a map opens more than loopback",
        "pipeline/fetch/hosts/guard.py",
        'return address.startswith(("127.", "::1")) and any(',
        "return any(",
        "tests/fetch/test_guard.py",
    ),
    Mutant(
        "pace: a turn is not looked at again",
        "pipeline/fetch/hosts/pace.py",
        "if given_up() or all(pace.resting == 0 for pace in paces):",
        "if True:",
        "tests/fetch/test_pace.py tests/fetch/test_manners.py",
    ),
    Mutant(
        "pace: no rate",
        "pipeline/fetch/hosts/pace.py",
        "self._next = self._last + 1 / self.requests",
        "self._next = self._last",
        "tests/fetch/test_pace.py",
    ),
    Mutant(
        "pace: robots.txt slows nothing",
        "pipeline/fetch/hosts/pace.py",
        "self.requests = min(self.requests, 1 / seconds)",
        "pass",
        "tests/fetch/test_pace.py tests/fetch/test_manners.py",
    ),
    Mutant(
        "pace: a host's rest is forgotten",
        "pipeline/fetch/hosts/pace.py",
        "self._told = max(self._told, asyncio.get_running_loop().time() + seconds)",
        "pass",
        "tests/fetch/test_pace.py tests/fetch/test_manners.py",
    ),
    Mutant(
        "lease: every lease is free",
        "pipeline/fetch/lease.py",
        'if told["until"] + SKEW < time.time():',
        "if True:",
        "tests/fetch/test_lease.py",
    ),
    Mutant(
        "lease: lost and not noticed",
        "pipeline/fetch/lease.py",
        "if not self._write(self.version):",
        "self._write(self.version)\n        if False:",
        "tests/fetch/test_lease.py",
    ),
    Mutant(
        "lease: written over another's",
        "pipeline/fetch/lease.py",
        "if (found[1] if found is not None else None) != version:",
        "if False:",
        "tests/fetch/test_lease.py",
    ),
    Mutant(
        "lease: a bucket's is written over",
        "pipeline/fetch/lease.py",
        'only = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}',
        "only: dict[str, str] = {}",
        "tests/fetch/test_lease.py tests/fetch/test_one_holder.py",
    ),
    Mutant(
        "ledger: sums need not balance",
        "schemas/manifest.py",
        "if seen != kept + dropped:",
        "if False:",
        "tests/pipeline/test_failing_runs.py tests/report tests/pipeline",
    ),
    Mutant(
        "ledger: a refused record is not counted",
        "pipeline/extract/outcome.py",
        'self.ledger.drop("records", refusal.reason)',
        "pass",
        "tests/pipeline/test_unreadable.py tests/pipeline/test_bad_input.py",
    ),
    Mutant(
        "ledger: nodes of a dropped document vanish",
        "pipeline/account/documents.py",
        "ledger.drop(kinds[position], Reason.PARENT)",
        "pass",
        "tests/pipeline/test_bad_text.py tests/pipeline/test_consent.py tests/pipeline",
    ),
    Mutant(
        "consent: directives are not heard",
        "filters/page_rules.py",
        "if self.directive not in asking.robots:",
        "if True:",
        "tests/filters tests/pipeline/test_consent.py",
    ),
    Mutant(
        "consent: a reservation is not heard",
        "filters/page_rules.py",
        "return Refusal(reason=self.reason, value=1, limit=0) if asking.tdm_reservation else None",
        "return None",
        "tests/filters tests/pipeline/test_consent.py",
    ),
    Mutant(
        "consent: an answer without a document is not heard",
        "pipeline/extract/outcome.py",
        "if not record.url or not (asked.robots or asked.tdm_reservation):",
        "if True:",
        "tests/pipeline/test_consent.py",
    ),
    Mutant(
        "consent: an older capture stays",
        "pipeline/filter_text/dedup.py",
        "            if not fact.objects:\n                yield fact",
        "            yield fact",
        "tests/pipeline/test_consent.py tests/pipeline/test_dedup_text.py",
    ),
    Mutant(
        "consent: robots.txt that fails opens",
        "pipeline/fetch/hosts/robots.py",
        "if not 200 <= status < 300:",
        "if False:",
        "tests/fetch/test_robots.py",
    ),
    Mutant(
        "consent: robots.txt names us in vain",
        "pipeline/fetch/hosts/robots.py",
        "ours = name.startswith(AGENT) and not _TOKEN.match(name[len(AGENT) :])",
        "ours = False",
        "tests/fetch/test_robots.py",
    ),
    Mutant(
        "consent: an opt-out list is not asked",
        "pipeline/fetch/hosts/optout.py",
        "        if url in self.listed:\n            return True",
        "        if url in self.listed:\n            return False",
        "tests/fetch/test_optout.py tests/fetch/test_manners.py",
    ),
    Mutant(
        "dedup: a pair is found under every key",
        "pipeline/filter_images/hamming.py",
        "if difference.bit_count() <= distance and all(difference & mask for mask in earlier):",
        "if difference.bit_count() <= distance:",
        "tests/algorithms/test_hamming.py",
    ),
    Mutant(
        "dedup: the distance itself is not within",
        "pipeline/filter_images/hamming.py",
        "near = np.bitwise_count(differences) <= distance",
        "near = np.bitwise_count(differences) < distance",
        "tests/algorithms/test_hamming.py",
    ),
    Mutant(
        "dedup: one document too few is remembered",
        "pipeline/filter_images/hamming.py",
        "documents=tuple(documents[: most + 1])",
        "documents=tuple(documents[:most])",
        "tests/algorithms/test_hamming.py",
    ),
    Mutant(
        "dedup: the first of a band goes too",
        "pipeline/filter_text/dedup.py",
        "        if member != first:\n",
        "        if True:\n",
        "tests/pipeline/test_dedup_text.py",
    ),
    Mutant(
        "dedup: as many as the limit are too many",
        "pipeline/filter_text/dedup.py",
        "    if count > limit:\n",
        "    if count >= limit:\n",
        "tests/pipeline/test_dedup_text.py",
    ),
    Mutant(
        "dedup: the oldest set of images stays",
        "pipeline/filter_images/dedup.py",
        "latest, count = max(captures)",
        "latest, count = min(captures)",
        "tests/pipeline/test_bad_images.py tests/pipeline",
    ),
    Mutant(
        "walk: a candidate is believed at once",
        "pipeline/read/walk/members.py",
        "(at - place >= PROOF or stretch.exhausted)",
        "True",
        "tests/read/test_members.py",
    ),
    Mutant(
        "walk: a record over two members is not too large",
        "pipeline/read/walk/members.py",
        "self.size > 0 and self.size + found.size > self.limit",
        "False",
        "tests/read/test_members.py tests/read/test_records.py",
    ),
    Mutant(
        "walk: padding is a record",
        "pipeline/read/walk/members.py",
        'if block.strip(b"\\0"):',
        "if block:",
        "tests/read/test_members.py tests/read/test_records.py",
    ),
    Mutant(
        "walk: a bomb gets memory",
        "pipeline/read/payload.py",
        "        if size > limit:\n            break",
        "        if size > limit:\n            continue",
        "tests/read/test_payload.py tests/read",
    ),
    Mutant(
        "packing: positions go on over documents",
        "training/data/batch.py",
        "- np.repeat(starts, lengths)",
        "- 0 * np.repeat(starts, lengths)",
        "tests/training/model tests/training/stream",
    ),
    Mutant(
        "packing: rows as they were packed",
        "training/data/windows.py",
        "shuffled = permutation(len(packed), (order.seed, ROWS, number, epoch, window))",
        "shuffled = list(range(len(packed)))",
        "tests/training/plan",
    ),
    Mutant(
        "packing: a row is filled beyond its end",
        "training/data/pack.py",
        "fitting = rooms >> size\n",
        "fitting = rooms >> (size - 1) if size > 1 else rooms >> size\n        size -= size > 1\n",
        "tests/training/plan",
    ),
    Mutant(
        "packing: a rank's rows overlap",
        "training/data/order.py",
        "return batch[rank * len(batch) // world : (rank + 1) * len(batch) // world]",
        "return batch[rank * len(batch) // world :]",
        "tests/training/plan",
    ),
    Mutant(
        "resume: the step of a checkpoint is cut, too",
        "training/fit/metrics.py",
        'if line["step"] <= last]',
        'if line["step"] < last]',
        "tests/training/fit/test_resume.py",
    ),
    Mutant(
        "resume: at the start of the window",
        "training/data/order.py",
        "cursor.epoch, cursor.window, cursor.row = place",
        "cursor.epoch, cursor.window, cursor.row = place[0], place[1], 0",
        "tests/training/plan tests/training/fit/test_resume.py",
    ),
    Mutant(
        "resume: without AdamW's moments",
        "training/fit/checkpoint.py",
        'optimizer.load_state_dict({"state": moments, "param_groups": settings})',
        "del moments, settings",
        "tests/training/fit/test_checkpoint.py tests/training/fit/test_resume.py",
    ),
    Mutant(
        "resume: a weight without a gradient is left out",
        "training/fit/step.py",
        "if weight.grad is None:",
        "if False:",
        "tests/training/fit/test_step.py tests/training/fit/test_resume.py",
    ),
    Mutant(
        "resume: parts of other settings are whole",
        "pipeline/extract/part.py",
        "if mark is None or mark.fingerprint != job.fingerprint:",
        "if mark is None:",
        "tests/pipeline/test_changed_settings.py tests/pipeline/test_kill.py tests/pipeline",
    ),
    Mutant(
        "resume: a file has its name before it is whole",
        "pipeline/store/store.py",
        'aside = target.with_name(f"{target.name}{ASIDE}{uuid.uuid4().hex}")',
        "aside = target",
        "tests/pipeline/test_at_rest.py",
    ),
    Mutant(
        "resume: equal bytes are packed again",
        "pipeline/store/packs.py",
        "if (place := self._places.get(sha256)) is not None:",
        "if (place := self._places.get(sha256)) is not None and not data:",
        "tests/pipeline/test_at_rest.py",
    ),
    Mutant(
        "isolation: documents see each other",
        "training/model/attention.py",
        "queries = torch.split(query_1HQD, given.queries_S1.diff().tolist(), 2)\n"
        "    keys = torch.split(key_1HTD, given.keys_S1.diff().tolist(), 2)\n"
        "    values = torch.split(value_1HTD, given.keys_S1.diff().tolist(), 2)",
        "queries, keys, values = [query_1HQD], [key_1HTD], [value_1HTD]",
        "tests/training/model",
    ),
    Mutant(
        "isolation: a document sees what comes behind",
        "training/model/idefics2.py",
        "            causal=True,\n",
        "            causal=False,\n",
        "tests/training/model",
    ),
    Mutant(
        "isolation: the place of another image",
        "training/model/idefics2.py",
        "return _where(is_image_T, expected)",
        "return _where(is_image_T, expected).flip(0)",
        "tests/training/model",
    ),
    Mutant(
        "sweep: through links",
        "pipeline/run/layout.py",
        "if path.is_symlink() and (where := _where(path, output, folder=name in folders())):",
        "if False and (where := _where(path, output, folder=name in folders())):",
        "tests/pipeline/test_foreign_folders.py tests/pipeline/test_foreign_files.py",
    ),
    Mutant(
        "sweep: every name is the run's",
        "pipeline/run/layout.py",
        "        return any(form(file) for form in forms().get(folder, ()))",
        "        return folder in forms()",
        "tests/pipeline/test_foreign_folders.py tests/pipeline/test_foreign_files.py",
    ),
)


def copy_to(folder: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder)


def caught_by(mutant: Mutant, folder: Path) -> str:
    """The first test that fails, or "" where none does."""
    path = folder / mutant.file
    whole = path.read_text()
    if whole.count(mutant.line) != 1:
        return ""
    path.write_text(whole.replace(mutant.line, mutant.broken))
    try:
        tests = [name for name in mutant.tests.split() if (folder / name).exists()]
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        ran = subprocess.run(
            [*command, *tests],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
            check=False,
        )
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
        return failed[1] if failed is not None else ""
    except subprocess.TimeoutExpired:
        return ""
    finally:
        path.write_text(whole)


def main(word: str = "") -> int:
    lost = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_to(folder)
        for mutant in MUTANTS:
            if word in mutant.name:
                test = caught_by(mutant, folder)
                lost += not test
                print(f"{mutant.name:<50} {test or 'LOST'}", flush=True)
    return min(lost, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
