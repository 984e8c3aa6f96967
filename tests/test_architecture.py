"""The house's one rule: data flows one way, and what stands right of a joint never imports what stands left of it."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "tfod_csf"

# Rooms of the package that a room may import besides itself and the vocabulary (the modules directly in tfod_csf/).
ROOMS = {
    "config": set(),
    "data": {"config"},
    "modeling": {"config", "data"},
    "training": {"modeling", "data", "evaluation", "config"},
    "export": {"modeling", "training", "config", "data", "inference"},
    "evaluation": set(),
    "inference": set(),
    "cytology": {"evaluation"},
    "synthetic": set(),
    "benchmarks": {"config", "data", "modeling", "training", "inference", "export", "synthetic"},
}

# absl is its logging; flags are in commands alone, see below.
VOCABULARY_LIBRARIES = {"numpy", "lxml", "google", "PIL", "tqdm", "absl"}
TABLES = {
    "numpy",
    "lxml",
    "google",
    "pandas",
    "matplotlib",
    "statsmodels",
    "scipy",
    "PIL",
    "jinja2",
    "markupsafe",
    "tqdm",
}
TENSORFLOW = {"tensorflow", "tf_keras", "official", "orbit"}
LIBRARIES = {
    "vocabulary": VOCABULARY_LIBRARIES,
    "config": VOCABULARY_LIBRARIES,
    "evaluation": {"numpy", "pycocotools", "matplotlib"},
    # tensorboard's protos read event files and load no TensorFlow.
    "cytology": TABLES | {"tensorboard"},
    "synthetic": TABLES,
    "inference": VOCABULARY_LIBRARIES | {"matplotlib"},
    "data": TABLES | TENSORFLOW,
    "modeling": {"numpy"} | TENSORFLOW,
    "training": TABLES | TENSORFLOW | {"absl", "tensorboard"},
    "export": TABLES | TENSORFLOW,
    "benchmarks": TABLES | TENSORFLOW | {"psutil"},
    "commands": TABLES | TENSORFLOW | {"absl"},
}
# The two places of inference that need TensorFlow: the model, and records as its input.
MAY_LOAD_TENSORFLOW = {"inference/detector.py", "inference/record_reader.py"}
# grpcio-tools is for whoever changes the schema.
MAY_LOAD_PROTOC = {"config/generated_files.py"}


def _modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))


def _room(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "vocabulary"


def _imports(path):
    """Absolute names that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "tfod_csf":
                yield from (f"tfod_csf.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path):
    room, relative = _room(path), path.relative_to(PACKAGE).as_posix()
    allowed = LIBRARIES[room] | (TENSORFLOW if relative in MAY_LOAD_TENSORFLOW else set())
    allowed |= {"grpc_tools"} if relative in MAY_LOAD_PROTOC else set()
    for name in _imports(path):
        first, *rest = name.split(".")
        if first in sys.stdlib_module_names:
            continue
        if first != "tfod_csf":
            assert first in allowed, f"{relative} imports {name}"
        elif room != "commands" and rest and rest[0] != room and relative != "__main__.py":
            # The label map's file format is a message of the schema.
            is_vocabulary = (PACKAGE / f"{rest[0]}.py").exists() or rest[0] == "__version__"
            is_vocabulary |= relative == "label_map.py" and rest[:2] == ["config", "protos"]
            assert is_vocabulary or rest[0] in ROOMS.get(room, set()), f"{relative} imports {name}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_flags_live_in_commands(path):
    if _room(path) != "commands":
        assert "absl.flags" not in set(_imports(path))
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
        }
        assert "FLAGS" not in names


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_named_for_nothing(path):
    assert path.stem not in {"utils", "util", "common", "misc", "helpers", "helper", "base"}


def _loaded(code):
    code += "\nimport sys; print(' '.join(sorted(name for name in sys.modules if '.' not in name or 'tfod' in name)))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("room", ["evaluation", "cytology", "synthetic", "config"])
def test_rooms_without_tensorflow(room):
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in (PACKAGE / room).rglob("*.py")]
    modules = [f"tfod_csf.{'.'.join(path.parts)}" for path in paths if path.name != "__init__"]
    modules = [name for name in modules if name != "tfod_csf.config.generated_files"]
    assert len(modules) >= 3, "nothing found to import: the guard would pass without testing anything"
    assert not _loaded("import " + ", ".join(modules)) & TENSORFLOW


def test_the_detector_loads_tensorflow_and_nothing_of_training():
    loaded = _loaded("import tfod_csf.inference.detector, tensorflow")
    assert "tensorflow" in loaded
    assert not loaded & {"official", "orbit"}
    assert not {name for name in loaded if name.startswith(("tfod_csf.training", "tfod_csf.modeling", "tfod_csf.data"))}


def test_the_package_itself_imports_nothing():
    assert list(_imports(PACKAGE / "__init__.py")) == []
