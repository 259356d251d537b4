"""The examples of docstrings and of the README run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import secateur

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = [name for _, name, _ in pkgutil.iter_modules(secateur.__path__) if name != "_native"]
NEED = {
    "mteb": "mteb",
    "langchain": "langchain_core",
    "llama_index": "llama_index.core",
    "haystack": "haystack",
    "haystack_metadata": "haystack",
    "ray": "ray.data",
    "ray_builds": "ray",
    "ray_data": "ray.data",
    "ray_serving": "ray",
    "shard_store": "pyarrow",
    "stored_files": "pyarrow",
}


def run(tests: list[doctest.DocTest], tmp_path: Path) -> int:
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in tests:
        # What examples use without saying where it is from.
        test.globs = {name: getattr(secateur, name) for name in secateur.__all__} | test.globs
        test.globs |= {"tmp": tmp_path, "mini_dataset": Path(__file__).resolve().parents[2] / "datasets" / "mini"}
        runner.run(test)
    assert runner.failures == 0
    return runner.tries


@pytest.mark.parametrize("name", ["", *MODULES])
def test_examples_run(name: str, tmp_path: Path) -> None:
    if name in NEED:
        pytest.importorskip(NEED[name])
    module = importlib.import_module(f"secateur.{name}".rstrip("."))
    run(doctest.DocTestFinder().find(module), tmp_path)


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(__file__).resolve().parents[1] / "README.md"
    text = "\n".join(part for part in path.read_text().split("```")[1::2] if part.startswith("python"))
    test = doctest.DocTestParser().get_doctest(text.replace("\npython\n", "\n"), {}, "README.md", str(path), 0)
    assert run([test], tmp_path) > 5
