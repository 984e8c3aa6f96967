"""The examples (>>>) in the docstrings of the whole package run and give what they say.

Not pytest's --doctest-modules: it imports every module of the package while it collects, TensorFlow with them, and a
run of one folder of tests would run no example. Here a module is imported when its test runs.
"""

import doctest
import importlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "tfod_csf"


def _modules_with_examples():
    """Dotted names of the modules that hold the prompt of an example."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            yield ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


MODULES = list(_modules_with_examples())


def test_modules_are_found():
    assert len(MODULES) >= 20, "nothing to run: the guard would pass without testing anything"


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0, "an example that doctest does not find, as in a function inside a function"
    assert done.failed == 0  # what differs is in the captured output
