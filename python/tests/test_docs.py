"""The code in the guides and docstrings runs as written."""

import doctest
import importlib
import os
import re
from pathlib import Path

import pytest

import conediff

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "python" / "README.md", *(ROOT / "docs" / "python").glob("*.md")])
MODULES = sorted(
    ".".join(path.relative_to(Path(conediff.__file__).parent.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in Path(conediff.__file__).parent.rglob("*.py")
)
#: Packages a page's code may import, each skipped where it is missing.
OPTIONAL = ["torch", "jax", "cvxpy", "cvxpylayers", "matplotlib"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_guide_runs(page, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    code = "\n".join(blocks)
    for package in OPTIONAL:
        if re.search(rf"\b(import|from) (conediff\.)?{package}\b", code):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(page), "exec"), {"__name__": "guide"})


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_run(name):
    for package in OPTIONAL:
        if name == f"conediff.{package}":
            pytest.importorskip(package)
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0


def test_every_public_name_has_a_docstring():
    for name in conediff.__all__:
        if name != "__version__":
            assert getattr(conediff, name).__doc__, name


def test_the_links_of_the_guides_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert os.path.exists(page.parent / target), f"{page.name}: {target}"
