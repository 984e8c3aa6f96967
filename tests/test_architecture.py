"""The layout: data flows one way, and no package imports one that comes later in that flow (CONTRIBUTING.md)."""

import ast
import collections
import functools
import graphlib
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "tfod_csf"

# Packages that a package may import besides itself and the vocabulary, the modules directly in tfod_csf/.
PACKAGES = {
    "vocabulary": {"files", "shipped_models"},
    "files": set(),
    "shipped_models": {"files"},
    "graphics": {"files"},
    "domain": set(),
    "study": {"files"},
    "config": {"files"},
    "network_input": {"config"},
    "data": {"config", "domain", "network_input", "files", "pages", "study"},
    "modeling": {"config", "network_input"},
    "training": {"modeling", "data", "network_input", "evaluation", "config", "files", "shipped_models"},
    "export": {"modeling", "training", "config", "domain", "network_input", "inference", "files", "study"},
    "pages": {"study"},
    "evaluation": {"files", "graphics", "pages", "study"},
    "inference": {"domain", "evaluation", "files", "graphics", "shipped_models", "study"},
    "cytology": {"domain", "evaluation", "files", "graphics", "pages", "study"},
    "synthetic": {"files", "study"},
    "benchmarks": {
        *("config", "data", "domain", "modeling", "training", "inference", "export", "evaluation", "cytology"),
        *("files", "graphics", "study", "synthetic"),
    },
}

# Subpackages that a subpackage may import besides itself and the modules directly in its package: an order, so that
# no two of them import each other. Modules directly in a package import the subpackages named under "".
SUBPACKAGES = {
    "cytology": {
        "": set(),
        "counting": set(),
        "studies": {"counting"},
        "review": {"counting"},
        "browser_review": {"review"},
        "signing": {"counting", "review"},
        "report": {"counting", "review", "signing"},
        "blinding": set(),
    },
    "data": {
        "": {"augmentation", "records"},
        "dataset_page": {"records"},
        "records": set(),
        "augmentation": set(),
        "annotated": {"dataset_page", "records"},
    },
    "training": {"": {"checkpoints", "evaluation"}, "checkpoints": set(), "evaluation": {"checkpoints"}},
    "evaluation": {
        "": {"error_gallery", "thresholds"},
        "training_report": set(),
        "error_gallery": set(),
        "label_choice": set(),
        "label_problems": set(),
        "thresholds": set(),
    },
    "modeling": {"": {"feature_extractors", "layers"}, "feature_extractors": set(), "layers": set()},
    "inference": {
        "": set(),
        "tiles": set(),
        "runs": {"tiles"},
        "labeled": set(),
        "archive": {"runs"},
        "watch": {"runs"},
    },
}

# absl is its logging; flags are in commands alone, see below.
VOCABULARY_LIBRARIES = {"numpy", "lxml", "google", "PIL", "absl"}
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
}
TENSORFLOW = {"tensorflow", "tf_keras", "official", "orbit"}
LIBRARIES = {
    "vocabulary": VOCABULARY_LIBRARIES,
    "files": VOCABULARY_LIBRARIES,
    "shipped_models": set(),
    "graphics": VOCABULARY_LIBRARIES | {"matplotlib"},
    "domain": {"numpy", "PIL"},
    "study": VOCABULARY_LIBRARIES,
    "pages": VOCABULARY_LIBRARIES | {"jinja2", "markupsafe"},
    "config": VOCABULARY_LIBRARIES,
    "network_input": {"numpy"} | TENSORFLOW,
    # tensorboard's protos read event files and load no TensorFlow.
    "evaluation": TABLES | {"pycocotools", "tensorboard"},
    "cytology": TABLES,
    "synthetic": TABLES,
    "inference": VOCABULARY_LIBRARIES,
    "data": TABLES | TENSORFLOW,
    "modeling": {"numpy"} | TENSORFLOW,
    "training": TABLES | TENSORFLOW | {"absl", "tensorboard"},
    "export": TABLES | TENSORFLOW,
    "benchmarks": TABLES | TENSORFLOW | {"psutil", "tifffile"},
    "commands": TABLES | TENSORFLOW | {"absl"},
}
LIBRARIES_OF_MODULE = {
    # Progress bars of every package are made here.
    "progress_bar.py": {"tqdm"},
    # The checksums of records.
    "files/tfrecord.py": {"google_crc32c"},
    # The places of inference that need TensorFlow: the model, and its decoder of JPEGs.
    "inference/detector.py": TENSORFLOW,
    "inference/saved_model_network.py": TENSORFLOW,
    "inference/jpeg_decoding.py": TENSORFLOW,
    # The optional extra [openvino].
    "inference/openvino_network.py": {"openvino"},
    "export/convert_saved_model.py": {"openvino"},
    "export/openvino_export.py": {"openvino"},
    "export/openvino_quantization.py": {"nncf"},
    # The optional extra [tiff]: rectangles of pictures too large for memory.
    "study/large_tiff.py": {"tifffile", "imagecodecs"},
    # The optional extra [archive]; grpc comes with it.
    "inference/archive/beam_pipeline.py": {"apache_beam"},
    "inference/archive/local_workers.py": {"grpc"},
    # The server of the review in the browser.
    "cytology/browser_review/server.py": {"werkzeug"},
    # The optional extra [fhir]: checks what is written for the laboratory's system.
    "cytology/signing/fhir_bundle.py": {"fhir"},
    # grpcio-tools is for whoever changes the schema.
    "config/generated_files.py": {"grpc_tools"},
}


def _modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))


def _package(path):
    """The package directly below tfod_csf/ that holds a module; "vocabulary" for the modules directly in tfod_csf/."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "vocabulary"


def _subpackage(path):
    """The folder inside its package that holds a module; "" for the modules directly in the package."""
    parts = path.relative_to(PACKAGE).parts
    return parts[1] if len(parts) > 2 else ""


@functools.cache
def _nodes(path):
    """Nodes of a module's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def _imports(path):
    """Absolute names that a module imports, anywhere in it."""
    names = []
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            own = node.module.split(".")[0] == "tfod_csf"
            names += [f"{node.module}.{alias.name}" for alias in node.names] if own else [node.module]
    return tuple(names)


def _file_of(name):
    """The file of a dotted name of the package: of a module, or of something in it."""
    parts = name.split(".")[1:]
    path = PACKAGE.joinpath(*parts)
    if path.is_dir():
        return path / "__init__.py"
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return _file_of(name.rpartition(".")[0])


def _own_imports(path):
    return [name for name in _imports(path) if name.split(".")[0] == "tfod_csf"]


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imported_libraries(path):
    relative = path.relative_to(PACKAGE).as_posix()
    allowed = LIBRARIES[_package(path)] | LIBRARIES_OF_MODULE.get(relative, set())
    for name in _imports(path):
        first = name.split(".")[0]
        if first not in sys.stdlib_module_names and first != "tfod_csf":
            assert first in allowed, f"{relative} imports {name}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imported_packages(path):
    package, relative = _package(path), path.relative_to(PACKAGE).as_posix()
    for name in _own_imports(path):
        other = _package(_file_of(name))
        if package in ("commands", other) or relative == "__main__.py":
            continue
        # The label map's file format is a message of the schema.
        is_schema = relative == "label_map.py" and name.startswith("tfod_csf.config.protos")
        assert is_schema or other == "vocabulary" or other in PACKAGES[package], f"{relative} imports {name}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imported_subpackages(path):
    package, subpackage = _package(path), _subpackage(path)
    if package not in SUBPACKAGES:
        return
    for name in _own_imports(path):
        other = _file_of(name)
        if _package(other) == package and _subpackage(other) not in ("", subpackage):
            assert _subpackage(other) in SUBPACKAGES[package][subpackage], f"{path} imports {name}"


def test_no_modules_import_each_other():
    graph = {path: {_file_of(name) for name in _own_imports(path)} - {path} for path in _modules()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(str(path.relative_to(PACKAGE)) for path in error.args[1]))


def test_no_folder_holds_more_than_sixteen_modules():
    folders = collections.Counter(path.parent for path in _modules() if path.stem != "__init__")
    del folders[PACKAGE / "commands"]  # one per command
    assert len(folders) >= 20
    assert not {str(folder): number for folder, number in folders.items() if number > 16}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_flags_live_in_commands(path):
    if _package(path) != "commands":
        assert "absl.flags" not in set(_imports(path))
        assert "FLAGS" not in {node.id for node in _nodes(path) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_named_for_nothing(path):
    assert path.stem not in {"utils", "util", "common", "misc", "helpers", "helper", "base"}


def _loaded(code):
    code += "\nimport sys; print(' '.join(sorted(name for name in sys.modules if '.' not in name or 'tfod' in name)))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("package", ["files", "study", "domain", "evaluation", "cytology", "synthetic", "config"])
def test_packages_without_tensorflow(package):
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in (PACKAGE / package).rglob("*.py")]
    modules = [f"tfod_csf.{'.'.join(path.parts)}" for path in paths if path.name != "__init__"]
    modules = [name for name in modules if name != "tfod_csf.config.generated_files"]
    assert len(modules) >= 3, "nothing found to import: the guard would pass without testing anything"
    assert not _loaded("import " + ", ".join(modules)) & TENSORFLOW


def test_records_are_written_checked_and_read_for_evaluation_without_tensorflow():
    modules = ("data.annotated.create_tf_record", "data.annotated.single_record", "data.records.record_statistics")
    modules += ("data.dataset_page.data_page",)
    modules += ("inference.labeled.record_reader", "inference.labeled.ground_truth")
    assert not _loaded("import " + ", ".join(f"tfod_csf.{name}" for name in modules)) & TENSORFLOW


def test_shards_are_merged_without_tensorflow():
    assert not _loaded("import tfod_csf.inference.runs.merge") & TENSORFLOW


def test_the_detector_loads_tensorflow_and_nothing_of_training():
    loaded = _loaded("import tfod_csf.inference.detector, tensorflow")
    assert "tensorflow" in loaded
    assert not loaded & {"official", "orbit"}
    assert not {name for name in loaded if name.startswith(("tfod_csf.training", "tfod_csf.modeling", "tfod_csf.data"))}


def test_the_package_itself_imports_nothing():
    assert _imports(PACKAGE / "__init__.py") == ()


# Where a module is tested that has no test file of its own name. Most are commands, which only check paths and make one
# call: their tests run the command and check what it writes, beside the tests of what it calls.
TESTED_IN = {
    "cytology/counting/differential_tables.py": "cytology/counting/test_differential.py",
    "benchmarks/robustness/trials.py": "benchmarks/robustness/test_kill_and_rerun.py",
    "benchmarks/detector.py": "benchmarks/test_detector_benchmark.py",
    "benchmarks/forward_pass.py": "benchmarks/test_benchmark_run.py",
    "benchmarks/parts.py": "benchmarks/test_benchmark_run.py",
    "benchmarks/record_writing.py": "benchmarks/test_benchmark_run.py",
    "benchmarks/train_step.py": "benchmarks/test_benchmark_run.py",
    "commands/agreement.py": "cytology/studies/test_agreement_tables.py",
    "commands/blind.py": "cytology/blinding/test_blind.py",
    "commands/calibrate.py": "cytology/studies/test_calibration.py",
    "commands/create_csf_tf_record.py": "data/annotated/test_create_tf_record.py",
    "commands/create_pascal_tf_record.py": "data/annotated/test_single_record.py",
    "commands/dataset_report.py": "data/dataset_page/test_data_page.py",
    "commands/describe_domain.py": "inference/labeled/test_domain_description.py",
    "commands/differential.py": "cytology/counting/test_cohort.py",
    "commands/inference_flags.py": "commands/test_batch_infer.py",
    "commands/differential_flags.py": "cytology/counting/test_cohort.py",
    "commands/config_flags.py": "commands/test_generate_pipeline_config.py",
    "commands/export_report.py": "cytology/signing/test_report_export.py",
    "commands/export_detections.py": "cytology/test_other_formats.py",
    "commands/flag_parsers.py": "commands/test_common_flags.py",
    "commands/find_label_problems.py": "evaluation/label_problems/test_find_label_problems.py",
    "commands/generate_tfrecord.py": "data/annotated/test_single_record.py",
    "commands/observers.py": "cytology/studies/test_observer_tables.py",
    "commands/partition_dataset.py": "data/annotated/test_single_record.py",
    "commands/record_flags.py": "data/annotated/test_create_tf_record.py",
    "commands/repeatability.py": "cytology/studies/repeatability/test_repeatability_tables.py",
    "commands/report.py": "cytology/report/test_pages.py",
    "commands/review_agreement.py": "cytology/review/test_reviewer_agreement.py",
    "commands/review_export.py": "cytology/review/test_export.py",
    "commands/review_import.py": "cytology/review/test_review_loop.py",
    "commands/review_flags.py": "cytology/review/test_review_loop.py",
    "commands/review_serve.py": "cytology/browser_review/test_review_in_browser.py",
    "commands/saturation.py": "cytology/studies/test_saturation_tables.py",
    "commands/simulate_cohort.py": "synthetic/test_cohort_folder.py",
    "commands/sign_report.py": "cytology/signing/test_sign.py",
    "commands/suggest_labels.py": "evaluation/label_choice/test_suggest_labels.py",
    "commands/synthesize.py": "synthetic/test_slides.py",
    "commands/training_report.py": "evaluation/training_report/test_training_curves.py",
    "commands/turnaround.py": "cytology/studies/test_turnaround_tables.py",
    "commands/unblind.py": "cytology/blinding/test_blind.py",
    "config/config_reference.py": "config/test_generated_files.py",  # which compares docs/CONFIG.md with what it makes
    "config/extractor_types.py": "fidelity/test_pipeline_configs.py",
    "config/supported_fields.py": "config/test_supported.py",  # the table that supported.py reads
    "cytology/cell_kinds.py": "cytology/test_run_tables.py",
    "cytology/review/base_state.py": "cytology/review/test_review_loop.py",
    "cytology/review/patient_import.py": "cytology/review/test_review_loop.py",
    "cytology/review/reviewed_cohort.py": "cytology/review/test_review_loop.py",
    "cytology/review/session.py": "cytology/review/test_review_loop.py",
    "cytology/review/training_images.py": "cytology/review/test_review_loop.py",
    "cytology/studies/calibration_tables.py": "cytology/studies/test_calibration.py",
    "data/annotated/fold_folder.py": "data/annotated/test_fold_records.py",
    "data/dataset_page/charts.py": "data/dataset_page/test_data_page.py",
    "data/dataset_page/page_sections.py": "data/dataset_page/test_data_page.py",
    "data/dataset_page/shown_pictures.py": "data/dataset_page/test_data_page.py",
    "benchmarks/label_choice/drawn_network.py": "benchmarks/label_choice/test_suggested_against_random.py",
    "evaluation/label_choice/prelabeled_folder.py": "evaluation/label_choice/test_suggest_labels.py",
    "evaluation/label_choice/suggestions_page.py": "evaluation/label_choice/test_suggest_labels.py",
    "evaluation/label_problems/problem_page.py": "evaluation/label_problems/test_find_label_problems.py",
    "evaluation/label_problems/review_folder.py": "evaluation/label_problems/test_find_label_problems.py",
    "export/model_info.py": "export/test_exporter.py",
    "commands/convert_checkpoint.py": "export/test_checkpoint_conversion.py",
    "commands/pack_model.py": "export/test_packing.py",
    "commands/import_frozen_graph.py": "export/test_frozen_graph_import.py",
    "export/detection_module.py": "fidelity/test_saved_model_signature.py",
    "export/run_saved_model.py": "export/test_exporter.py",  # a program of its own, which every export runs
    "inference/jpeg_decoding.py": "inference/test_detector.py",
    "pages/svg.py": "cytology/report/test_charts.py",
    "inference/saved_model_network.py": "inference/test_detector.py",
    "inference/openvino_network.py": "export/test_openvino_export.py",
    "export/convert_saved_model.py": "export/test_openvino_export.py",  # a program of its own
    "commands/export_openvino.py": "export/test_openvino_export.py",
    "inference/runs/image_reading.py": "inference/runs/test_patient_results.py",
    "commands/archive_infer.py": "inference/archive/test_archive_run.py",
    "inference/archive/local_workers.py": "inference/archive/test_beam_pipeline.py",
    "inference/runs/patient_examination.py": "inference/runs/test_batch.py",
    "inference/runs/image_cells.py": "inference/runs/test_large_pictures.py",
    "inference/runs/rounds.py": "commands/test_batch_infer.py",
    "study/bndbox.py": "study/test_labelimg.py",
    "modeling/feature_extractors/extractor_builder.py": "modeling/feature_extractors/test_feature_extractor.py",
    "modeling/feature_extractors/inception_resnet_v2.py": "fidelity/test_forward.py",
    "modeling/feature_extractors/resnet18.py": "modeling/feature_extractors/test_feature_extractor.py",
    "modeling/feature_extractors/resnet_v1.py": "fidelity/test_forward.py",
    "modeling/feature_extractors/slim_inception_resnet_v2.py": "fidelity/test_forward.py",
    "modeling/feature_extractors/slim_inception_v2.py": "fidelity/test_forward.py",
    "modeling/feature_extractors/slim_layers.py": "fidelity/test_forward.py",
    "modeling/feature_extractors/slim_resnet_v1.py": "fidelity/test_forward.py",
}
UNTESTED = {
    "data/dataset_page/findings.py": "fields, and a join of sentences that test_data_page.py sees printed",
    "data/records/ready_image.py": "fields without a method",
    "errors.py": "an exception class without code",
    "evaluation/page_facts.py": "fields without a method",
    "inference/image_detector.py": "a protocol and an exception class without code",
    "inference/network.py": "a protocol, an exception class and fields without a method",
    "legacy_keras.py": "one assignment before TensorFlow is imported; every other test of a network fails without it",
}


def test_every_module_has_a_test_of_its_name_or_is_said_to_be_tested_elsewhere():
    tests = pathlib.Path(__file__).parent
    names = [path.relative_to(PACKAGE) for path in _modules() if path.name not in ("__init__.py", "__main__.py")]
    twins = {name.as_posix() for name in names if (tests / name.parent / f"test_{name.name}").is_file()}
    without = {name.as_posix() for name in names} - twins
    excepted = {*TESTED_IN, *UNTESTED}
    assert without - excepted == set(), "write tests/.../test_<module>.py, or say in TESTED_IN where it is tested"
    assert excepted - without == set(), "these have a test of their name, or are gone: remove them from the two tables"
    assert {name for name in TESTED_IN.values() if not (tests / name).is_file()} == set()
