"""Imports run one way, and a part of interloom works without what only another part needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# what a bare `pip install interloom` does not bring, by the extra that does
EXTRAS = {
    "pipeline": {
        *("apache_beam", "fastwarc", "fasttext", "imagehash", "PIL", "selectolax", "tldextract"),
        *("trafilatura", "warcio", "webdataset", "wordfreq", "httpx", "jinja2", "zstandard"),
        *("better_profanity", "stopwordsiso"),
    },
    "training": {"torch", "transformers", "tokenizers", "peft", "simplejpeg", "tensorboard"},
}
BLOCKER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.argv = {argv!r}
"""


def without(
    *absent: str, code: str, argv: tuple[str, ...] = ("-",)
) -> subprocess.CompletedProcess[str]:
    """Run code in a Python in which these modules are not installed."""
    program = BLOCKER.format(absent=set(absent), argv=list(argv)) + code
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


def modules(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no module in {package}"
    parts = (path.relative_to(ROOT).with_suffix("").parts for path in files)
    names = [".".join(part for part in names if part != "__init__") for names in parts]
    return [name for name in names if not name.endswith("__main__")]  # that one runs


def imported(package: str, *, at_module_level: bool) -> Iterator[tuple[str, str]]:
    """(file, top-level module that it imports) of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        nodes = _at_import(tree) if at_module_level else ast.walk(tree)
        for node in nodes:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.append(node.module)
            yield from ((str(path.relative_to(ROOT)), name.split(".")[0]) for name in names)


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: all but what lies in a function."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_import(node)


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("package", "never"),
    [
        ("schemas", {"apache_beam", "torch", "pipeline", "filters", "training"}),
        ("filters", {"apache_beam", "torch", "pipeline", "training"}),
        ("training", {"apache_beam", "pipeline", "filters"}),
    ],
)
def test_a_package_never_imports_what_belongs_to_another(package: str, never: set[str]) -> None:
    found = list(imported(package, at_module_level=False))
    assert [pair for pair in found if pair[1] in never] == []


def test_the_pipeline_does_not_import_torch_when_it_is_imported() -> None:
    found = list(imported("pipeline", at_module_level=True))
    assert ("pipeline/stages.py", "apache_beam") in found  # the walk does see imports
    assert [pair for pair in found if pair[1] in {"torch", "transformers", "training"}] == []


@pytest.mark.parametrize("package", ["schemas", "filters"])
def test_schemas_and_filters_import_without_any_extra(package: str) -> None:
    names = modules(package)
    code = "import importlib\nfor name in {names!r}: importlib.import_module(name)"
    absent = [name for extra in EXTRAS.values() for name in extra]
    done = without(*absent, code=code.format(names=names))
    assert done.returncode == 0, done.stderr


def test_the_pipeline_imports_whole_without_the_training_extra() -> None:
    code = "import importlib\nfor name in {names!r}: importlib.import_module(name)"
    done = without(*EXTRAS["training"], code=code.format(names=modules("pipeline")))
    assert done.returncode == 0, done.stderr


def test_help_needs_no_extra() -> None:
    absent = EXTRAS["pipeline"] | EXTRAS["training"]
    code = "from pipeline.cli import main; main()"
    for argv in (("interloom", "--help"), ("interloom", "run", "--help")):
        done = without(*absent, code=code, argv=argv)
        assert done.returncode == 0, done.stderr
        assert "Turn a web crawl into image-text shards" in done.stdout


@pytest.mark.parametrize("absent", ["apache_beam", "fastwarc"])
def test_a_command_without_its_extra_names_the_extra_and_gives_no_traceback(
    absent: str, tmp_path: Path
) -> None:
    argv = ("interloom", "run", str(tmp_path / "a.warc.gz"), "-o", str(tmp_path / "run"))
    done = without(absent, code="from pipeline.cli import main; main()", argv=argv)
    assert done.returncode == 2
    assert f"{absent} is not installed" in done.stderr
    assert "pip install 'interloom[pipeline]'" in done.stderr
    assert "Traceback" not in done.stderr
