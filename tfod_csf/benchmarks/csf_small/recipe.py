"""Trains csf_small, from the labeled images of two laboratories to an exported model.

    python -m tfod_csf.benchmarks.csf_small.recipe --data_dir=DATA --work_dir=WORK --without_fold=0

Composes fields of PBC (training_fields), which has more cells of each class, makes records of them, trains, and
refines: trains again from there, with further fields too; first with some whose stain and sharpness are as
photographed, and with a first half that normalizes each image by itself, then with some that are all changed, at last
with fields of both laboratories. Exports, and describes the images themselves for the model's domain guard. Each step
is a command of tfod_csf, as a user would run it. Run again, it resumes: finished steps are skipped, a training
resumes from its last checkpoint. In WORK: fields/, records/, pipeline.config, model/, refinement_1/ and so on with
the same, exported/, study/, study_records/, and training.json, which says from what and how long.

--without_fold and --without_laboratory hold images back to be measured with. csf_small 0.3 was made by the steps of the
command above, started one after the other by hand: fold 0 says how good it is.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small import source_images, training_fields
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.benchmarks.csf_small.training_fields import FieldSettings
from tfod_csf.config import paper_settings
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.label_map import label_map_from_names, save_label_map

# In this order; `unknown` are white cells of another type than the three.
CLASSES = (*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN)
TRAINING = "training.json"
# Of the fields' settings: how far stain, light and sharpness of most parts are changed.
OTHER_LABORATORIES = {"stain": 0.25, "density": (0.3, 1.3), "blur": 2.5, "changed": 0.75}
_REFINING_FIELDS = 7000  # of each of the first two refinements
_MOST_BOXES = 200  # of a field; the first training's config has what its own fields need, which may be less
_TEST_FRACTION = 0.02  # fields that the loss is followed on; what is measured comes from images held back
_HUE = "train_config { data_augmentation_options { random_adjust_hue { } } }"
# TFOD's 25 % of the proposals that a step learns from are mostly red cells; the types of white cells need more of them.
MORE_CELLS = "model { faster_rcnn { second_stage_batch_size: 64 second_stage_balance_fraction: 0.5 } }"
# A first half that is one group deeper, with a quarter of the anchors.
STRIDE_16 = (
    "model { faster_rcnn { feature_extractor { first_stage_features_stride: 16 } "
    "first_stage_anchor_generator { grid_anchor_generator { height_stride: 16 width_stride: 16 } } } }"
)
# Batch norm learns faster; of a laboratory that it has not seen, instance norm recognizes more.
INSTANCE_NORM = 'model { faster_rcnn { feature_extractor { type: "faster_rcnn_resnet18_instance_norm_keras" } } }'
# Another learning rate, from a checkpoint, with further records.
_REFINED = (
    'train_config { fine_tune_checkpoint: "%s" fine_tune_checkpoint_type: "full" fine_tune_checkpoint_version: V2 '
    "max_number_of_boxes: %d num_steps: %d "
    "optimizer { adam_optimizer { learning_rate { exponential_decay_learning_rate "
    "{ initial_learning_rate: %g decay_steps: %d } } } } } "
    'train_input_reader { max_number_of_boxes: %d tf_record_input_reader { input_path: "%s" } }'
)
# Fields are square; the exported model takes images of any shape and does not pad them.
_RESIZER = (
    "model { faster_rcnn { image_resizer { keep_aspect_ratio_resizer "
    "{ min_dimension: 320 max_dimension: 448 pad_to_max_dimension: false } } } }"
)


class Start(NamedTuple):
    """Weights that a training starts from.

    Attributes:
      name: for training.json.
      begin: from the recipe, its work folder with a pipeline.config, and the images to a change of that config.
    """

    name: str
    begin: Callable[["Recipe", pathlib.Path, Sequence[SourceImage]], str]


class Refinement(NamedTuple):
    """A further training, with Adam, on the fields so far and further ones.

    Attributes:
      fields: further ones.
      steps: of this training.
      learning_rate: of its first step.
      changes: of the pipeline.config so far, as its text.
      laboratory: whose images the further fields are of; "": all.
    """

    fields: FieldSettings
    steps: int
    learning_rate: float
    changes: str = ""
    laboratory: str = ""


def kept(images: Sequence[SourceImage], without_fold: int | None, without_laboratory: str | None) -> list[SourceImage]:
    """The images to train on.

    Raises:
      UserError: none is left.
    """
    some = [one for one in images if one.fold != without_fold and one.laboratory != without_laboratory]
    if not some:
        raise UserError(f"no image is left without fold {without_fold} and laboratory {without_laboratory}.")
    return some


class Recipe:
    """One training in its folder.

    Args:
      work_dir: its folder; made if absent.
      settings: everything that decides the result, for training.json.

    Raises:
      UserError: the folder holds a training with other settings.
    """

    def __init__(self, work_dir: pathlib.Path, settings: dict[str, Any]):
        self._work_dir = work_dir
        work_dir.mkdir(parents=True, exist_ok=True)
        self._record: dict[str, Any] = {"settings": settings, "cpu_seconds": {}, "finished": []}
        path = work_dir / TRAINING
        if path.is_file():
            self._record = json.loads(path.read_text(encoding="utf-8"))
            if self._record["settings"] != settings:
                raise UserError(f"{path}: is of {self._record['settings']}, not {settings}; give a new --work_dir.")

    def step(self, name: str, command: Sequence[str], remove: str = "") -> None:
        """Runs a command of tfod_csf unless it has finished before; its CPU time is added to what earlier tries took.

        Args:
          remove: folder below the work folder that an interrupted try may have left.

        Raises:
          UserError: it failed.
        """
        if name in self._record["finished"]:
            return
        if remove:
            shutil.rmtree(self._work_dir / remove, ignore_errors=True)
        status = None
        before = cpu_seconds()
        try:
            status = subprocess.run([sys.executable, "-m", "tfod_csf", *command], check=False).returncode
        finally:
            self._took(name, cpu_seconds() - before, finished=status == 0)
        if status:
            raise UserError(f"{self._work_dir}: the step {name} ended with status {status}; run again to resume.")

    def own_step(self, name: str, folder: str, action: Callable[[pathlib.Path], object]) -> None:
        """Runs `action` with a folder below the work folder, which it fills, unless it has finished before."""
        if name in self._record["finished"]:
            return
        shutil.rmtree(self._work_dir / folder, ignore_errors=True)
        is_finished = False
        before = cpu_seconds()
        try:
            action(self._work_dir / folder)
            is_finished = True
        finally:
            self._took(name, cpu_seconds() - before, is_finished)

    def _took(self, name: str, cpu_seconds: float, finished: bool) -> None:
        times = self._record["cpu_seconds"]
        times[name] = round(times.get(name, 0.0) + cpu_seconds, 1)
        if finished:
            self._record["finished"].append(name)
        atomic_write.write_json(self._work_dir / TRAINING, self._record)


def cpu_seconds() -> float:
    """What the operating system has counted of this process and of those it has waited for."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(time.ru_utime + time.ru_stime for time in times)


def run(
    work_dir: pathlib.Path,
    images: Sequence[SourceImage],
    fields: FieldSettings,
    network: dict[str, Any],
    start: Start | None = None,
    changes: str = "",
    refinements: Sequence[Refinement] = (),
    laboratory: str = "",
) -> None:
    """All steps.

    Args:
      images: to train on.
      network: flags of generate_pipeline_config, by name.
      start: makes the weights to start from; None: random ones.
      changes: of the generated pipeline.config, as its text.
      refinements: in their order.
      laboratory: whose images the fields of the first training are of; "": all.
    """
    settings = {
        "data": source_images.data_fingerprint(images),
        "images": len(images),
        "fields": _field_settings(fields),
        "network": network,
        "changes": changes,
        **({"start": start.name} if start else {}),
        **({"laboratory": laboratory} if laboratory else {}),
        **({"refinements": [_refinement_settings(one) for one in refinements]} if refinements else {}),
    }
    recipe = Recipe(work_dir, settings)
    save_label_map(label_map_from_names(CLASSES), work_dir / "label_map.pbtxt")
    records = _records_of_fields(recipe, work_dir, _of(laboratory, images), fields, "")
    config, model = work_dir / "pipeline.config", work_dir / "model"
    flags = [f"--{name}={value}" for name, value in network.items()]
    generating = ["generate_pipeline_config", f"--records_dir={records}", f"--output_path={config}"]
    recipe.step("config", [*generating, *flags, f"--config_override={_HUE} {changes}"])
    training = ["model_main_tf2", f"--pipeline_config_path={config}", f"--model_dir={model}", "--seed=1"]
    begun = [f"--config_override={start.begin(recipe, work_dir, images)}"] if start else []
    recipe.step("training", [*training, *begun, "--checkpoint_every_n=500"])
    for number, refinement in enumerate(refinements, 1):
        model = _refine(recipe, work_dir, _of(refinement.laboratory, images), refinement, model, f"refinement_{number}")
    # A training's own copy of the config has the changes of the refinements.
    trained = ["exporter_main_v2", f"--pipeline_config_path={model / 'pipeline.config'}"]
    exported = work_dir / "exported"
    given = [f"--output_directory={exported}", f"--config_override={_RESIZER}", "--nodomain_guard"]
    recipe.step("export", [*trained, f"--trained_checkpoint_dir={model}", *given], remove="exported")
    _describe_domain(recipe, work_dir, images, exported)


def _of(laboratory: str, images: Sequence[SourceImage]) -> list[SourceImage]:
    return [one for one in images if laboratory in ("", one.laboratory)]


def _refinement_settings(refinement: Refinement) -> dict[str, Any]:
    """As JSON gives them back."""
    return {**refinement._asdict(), "fields": _field_settings(refinement.fields)}


def _field_settings(fields: FieldSettings) -> dict[str, Any]:
    """As JSON gives them back."""
    return {**vars(fields), "scales": list(fields.scales), "density": list(fields.density)}


def _records_of_fields(
    recipe: Recipe, work_dir: pathlib.Path, images: Sequence[SourceImage], fields: FieldSettings, name: str
) -> pathlib.Path:
    """Folder of the records of fields; `name` is of the training, and of its folder: "" for the first one."""
    folder, records = pathlib.PurePath(name, "fields"), work_dir / name / "records"
    step = f"{name} " if name else ""
    recipe.own_step(f"{step}compose", str(folder), lambda made: training_fields.write_fields(images, fields, made))
    recipe.step(
        f"{step}records",
        [
            *("create_csf_tf_record", f"--images_dir={work_dir / folder}", f"--output_dir={records}"),
            *(f"--label_map_path={work_dir / 'label_map.pbtxt'}", f"--test_fraction={_TEST_FRACTION}"),
            *("--nodata_page", "--num_shards=4"),
        ],
    )
    return records


def _refine(
    recipe: Recipe,
    work_dir: pathlib.Path,
    images: Sequence[SourceImage],
    refinement: Refinement,
    model: pathlib.Path,
    name: str,
) -> pathlib.Path:
    """Folder of the refinement's checkpoints; `model` is that of the training before it."""
    records = _records_of_fields(recipe, work_dir, images, refinement.fields, name)
    refined, steps = work_dir / name / "model", refinement.steps
    falls = paper_settings.decay_steps_for(paper_settings.Training(num_steps=steps))
    shards = records / "train.record-?????-of-?????"
    changes = _REFINED % (model, _MOST_BOXES, steps, refinement.learning_rate, falls, _MOST_BOXES, shards)
    training = ["model_main_tf2", f"--pipeline_config_path={model / 'pipeline.config'}", f"--model_dir={refined}"]
    changed = f"--config_override={changes} {refinement.changes}"
    recipe.step(name, [*training, "--seed=1", "--checkpoint_every_n=500", changed])
    return refined


def _describe_domain(
    recipe: Recipe, work_dir: pathlib.Path, images: Sequence[SourceImage], exported: pathlib.Path
) -> None:
    """Images that people photograph are what a guard has to know, not composed fields."""
    study, records = work_dir / "study", work_dir / "study_records"
    source_images.write_study(images, study)
    recipe.step(
        "study records",
        [
            *("create_csf_tf_record", f"--images_dir={study}", f"--output_dir={records}", "--nodata_page"),
            *(f"--label_map_path={work_dir / 'label_map.pbtxt'}", f"--test_fraction={_TEST_FRACTION}"),
        ],
    )
    recipe.step(
        "domain", ["describe_domain", f"--model={exported}", f"--input_path={records / 'train.record-?????-of-?????'}"]
    )


def network_flags(steps: int, batch_size: int = 8, optimizer: str = paper_settings.ADAM) -> dict[str, Any]:
    """Flags of generate_pipeline_config, by name, that all trainings have in common."""
    return {
        "feature_extractor": "resnet18",
        "num_steps": steps,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "max_detections": 150,
        "first_stage_max_proposals": 150,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=pathlib.Path, required=True, help="holds pbc_mgg, pbc_dense, bccd_differential, bccd_dense")
    add("--work_dir", type=pathlib.Path, required=True, help="folder of this training")
    add("--without_fold", type=int, choices=range(source_images.NUM_FOLDS), help="fold to hold back")
    add("--without_laboratory", choices=(source_images.PBC, source_images.BCCD), help="laboratory to hold back")
    add("--fields", type=int, default=12000, help="fields to compose (default: %(default)s)")
    add("--seed", type=int, default=1, help="of the fields (default: 1)")
    add(
        "--other_laboratories",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="change stain, light and sharpness of most of the fields' parts (default: yes)",
    )
    add("--more_cells", action="store_true", help="learn from 64 proposals of a field, half of them cells")
    add("--first_stage_features_stride", type=int, choices=(8, 16), default=16, help="default: %(default)s")
    add(
        "--optimizer",
        choices=paper_settings.OPTIMIZERS,
        default=paper_settings.ADAM,
        help="default: %(default)s; the paper's is rms_prop",
    )
    add("--decay_factor", type=float, default=0.92, help="of the learning rate, 45 times (default: %(default)s)")
    add("--steps", type=int, default=8000, help="training steps (default: %(default)s)")
    add(
        "--refining_steps",
        type=int,
        nargs=3,
        default=[4500, 3000, 1200],
        help="training steps of the refinements, 0 for none (default: 4500 3000 1200)",
    )
    add("--batch_size", type=int, default=8, help="fields of a step (default: 8)")
    return parser


def _refinements(options: argparse.Namespace) -> list[Refinement]:
    """Those that have steps; the last one has something to add where there are two laboratories."""
    unchanged = FieldSettings(_REFINING_FIELDS, options.seed, pasted=3, dense=0.6, sparse=0.4)
    changed = dataclasses.replace(unchanged, **{**OTHER_LABORATORIES, "changed": 1.0})
    both = dataclasses.replace(unchanged, number=options.fields, **OTHER_LABORATORIES)
    laboratory = _first_laboratory(options)
    given = [
        Refinement(unchanged, options.refining_steps[0], 0.0006, INSTANCE_NORM, laboratory),
        Refinement(changed, options.refining_steps[1], 0.0003, laboratory=laboratory),
        Refinement(both, options.refining_steps[2], 0.0002),
    ]
    return [one for one in given[: 2 if options.without_laboratory else 3] if one.steps]


def _first_laboratory(options: argparse.Namespace) -> str:
    """BCCD's few lymphocytes and monocytes, shown as often as PBC's, made the types of PBC's cells worse."""
    return "" if options.without_laboratory == source_images.PBC else source_images.PBC


def main() -> None:
    """The command line."""
    options = _parser().parse_args()
    try:
        images = kept(
            source_images.read_source_images(options.data_dir), options.without_fold, options.without_laboratory
        )
        changed = OTHER_LABORATORIES if options.other_laboratories else {}
        fields = FieldSettings(options.fields, options.seed, pasted=3, dense=0.6, sparse=0.4, **changed)
        network = {
            **network_flags(options.steps, options.batch_size, options.optimizer),
            "decay_factor": options.decay_factor,
        }
        changes = [MORE_CELLS] if options.more_cells else []
        changes += [STRIDE_16] if options.first_stage_features_stride == 16 else []
        refinements = _refinements(options)
        run(
            options.work_dir,
            images,
            fields,
            network,
            changes=" ".join(changes),
            refinements=refinements,
            laboratory=_first_laboratory(options),
        )
    except UserError as error:
        sys.exit(f"recipe: error: {error}")


if __name__ == "__main__":
    main()
