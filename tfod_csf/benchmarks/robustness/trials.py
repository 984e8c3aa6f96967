"""What `kill_and_rerun` kills: commands, the state of the disk before each, and what has to be equal afterwards."""

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.config.pipeline_config import load_pipeline_config, save_pipeline_config
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.files import atomic_write
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.synthetic import slides

_CHILD = "tfod_csf.benchmarks.robustness.killed_command"
# Differences by nature: TensorFlow's event files and fingerprint.pb hold times and random numbers, its checkpoints too
# (they are compared by what they hold), and the manifest holds the checksums of those.
NATURAL = ("*.tfevents.*", "*/fingerprint.pb", "*/ckpt-*", "*/checkpoint", "*/SHA256SUMS")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One command that is killed.

    Attributes:
      name: the command, and over what it runs.
      command: its flags; a path that begins with WORK/ lies in the folder that is put back before each try.
      before: commands that make the state before it, in WORK.
      dark_cells: run with the detector that needs no TensorFlow.
      needs: "model" (an exported model), "records" (records and a config) or "checkpoint" (a trained checkpoint).
      appears: pattern of a path; part of the tries are killed when one appears.
      refuses_finished: what a command says that does not run over its own finished result: the kill came after its last
        change, and its files are compared as always.
    """

    name: str
    command: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    dark_cells: bool = True
    needs: tuple[str, ...] = ()
    appears: str = ""
    refuses_finished: str = ""


def _infer(model: str = "INPUTS/model") -> tuple[str, ...]:
    return ("batch_infer", "--images_dir=INPUTS/slides", f"--model={model}", "--output_dir=WORK/run")


def _shard(number: int) -> tuple[str, ...]:
    return (*_infer(), f"--shard={number}/2")


_MERGE = ("merge_shards", "--output_dir=WORK/run")
_RECORDS = ("create_csf_tf_record", "--images_dir=INPUTS/slides", "--output_dir=WORK/records", "--num_processes=2")
_TRAIN = ("model_main_tf2", "--pipeline_config_path=INPUTS/records/pipeline.config", "--model_dir=WORK/model")
_TRAIN += ("--num_train_steps=6", "--checkpoint_every_n=2", "--eval_every_n=3", "--seed=1", "--log_every_n=1")
_EXPORT = ("exporter_main_v2", "--pipeline_config_path=INPUTS/trained/pipeline.config", "--output_directory=WORK/out")
_EXPORT += ("--trained_checkpoint_dir=INPUTS/trained",)
_COUNTING = ("--min_white_cells=1",)
_REPORT = ("report", "--inference_dir=WORK/run", "--images_dir=INPUTS/slides", "--date=2022-01-24", *_COUNTING)
_REVIEW = ("review_export", "--inference_dir=WORK/run", "--output_dir=WORK/review")
_IMPORT = ("review_import", "--inference_dir=WORK/run", "--review_dir=WORK/review", "--output_dir=WORK/reviewed")
_IMPORT += ("--reviewer=Li", *_COUNTING)
_SIGN = ("sign_report", "--inference_dir=WORK/reviewed", "--images_dir=INPUTS/slides", "--signed_by=Wu", *_COUNTING)
_SIGN += ("--patient=patient_001", "--patient=patient_002", "--max_unknown_percent=100")
_BLIND = ("blind", "--images_dir=INPUTS/slides", "--output_dir=WORK/blinded", "--key_file=WORK/secret/key")
_CALIBRATE = ("calibrate", "--inference_dir=WORK/run", "--annotations_dir=INPUTS/slides", "--output_dir=WORK/out")
_CALIBRATE += ("--model=WORK/model", "--min_cells=1")
_VERIFY = ("verify", "WORK/review")  # not a command: marks the exported XML as seen
_COPY = ("copy", "INPUTS/model", "WORK/model")

TRIALS = (
    Trial("batch_infer", _infer(), needs=("model",)),
    Trial("batch_infer over other thresholds", (*_infer(), "--min_score=0.7"), (_infer(),), needs=("model",)),
    Trial("batch_infer with TensorFlow", _infer(), dark_cells=False, needs=("model",)),
    Trial("batch_infer --shard", _shard(1), (_shard(2),), needs=("model",)),
    Trial("batch_infer --shard over other thresholds", (*_shard(1), "--min_score=0.7"), (_infer(),), needs=("model",)),
    Trial("merge_shards", _MERGE, (_shard(1), _shard(2)), needs=("model",)),
    Trial("create_csf_tf_record", _RECORDS),
    Trial("create_csf_tf_record over another set", (*_RECORDS, "--seed=5"), (_RECORDS,)),
    Trial("model_main_tf2", _TRAIN, needs=("records",), appears="model/ckpt-*"),
    Trial("exporter_main_v2", _EXPORT, needs=("checkpoint",)),
    Trial("exporter_main_v2 over a model", (*_EXPORT, "--min_score=0.6"), (_EXPORT,), needs=("checkpoint",)),
    Trial("report", _REPORT, (_infer(),), needs=("model",)),
    Trial("review_import", _IMPORT, (_infer(), _REVIEW, _VERIFY), needs=("model",)),
    Trial("sign_report", _SIGN, (_infer(), _REVIEW, _VERIFY, _IMPORT), needs=("model",)),
    Trial("blind", _BLIND, refuses_finished="exists and is never overwritten"),
    Trial("calibrate", _CALIBRATE, (_COPY, _infer("WORK/model")), needs=("model",)),
)


class Inputs:
    """Slides, model, records and checkpoint that all trials read, made when they are needed first.

    Args:
      folder: where they and WORK lie.
      num_patients: patients, of 3 images of 200 x 150 pixels each.
    """

    def __init__(self, folder: pathlib.Path, num_patients: int):
        self.inputs, self.work = folder / "inputs", folder / "work"
        self._num_patients = num_patients
        self._makers: dict[str, Callable[[], None]] = {
            "model": self._make_model,
            "records": self._make_records,
            "checkpoint": self._make_checkpoint,
        }

    def make(self, trial: Trial) -> None:
        """Makes what a trial needs and is not there yet."""
        if not (self.inputs / "slides" / "truth.csv").exists():
            slides.synthesize(self.inputs / "slides", self._num_patients, 3, 1, slides.FieldSettings(200, 150), 1)
        for need in trial.needs:
            self._makers[need]()

    def prepare(self, trial: Trial) -> None:
        """Makes the state before a trial's command in an empty WORK."""
        self.work.mkdir(parents=True)
        for command in trial.before:
            if command[0] == "verify":
                self._verify(self.work / "review")
            elif command[0] == "copy":
                for path in sorted(self.inputs.joinpath("model").rglob("*")):
                    if path.is_file():
                        atomic_write.copy_file(path, self.work / "model" / path.relative_to(self.inputs / "model"))
            else:
                self.run(trial, command)

    def child(self, trial: Trial, command: Sequence[str], *flags: str) -> list[str]:
        """The command line of one run."""
        given = [part.replace("WORK/", f"{self.work}/").replace("INPUTS/", f"{self.inputs}/") for part in command]
        dark = ["--dark_cells"] if trial.dark_cells and command[0] == "batch_infer" else []
        return [sys.executable, "-m", _CHILD, f"--below={self.work}", *dark, *flags, "--", *given]

    def run(self, trial: Trial, command: Sequence[str], *flags: str) -> None:
        """Runs a command undisturbed.

        Raises:
          RuntimeError: it failed; with what it said.
        """
        done = subprocess.run(self.child(trial, command, *flags), capture_output=True, text=True, env=environment())
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")

    def _verify(self, folder: pathlib.Path) -> None:
        """What a reviewer does: looks at every image, and finds the first cell of each to be another."""
        for path in sorted(folder.rglob("*.xml")):
            annotation = labelimg.read_annotation(path, ProblemLog(quiet=True))
            annotation.verified = True
            if annotation.objects:
                annotation.objects[0].name = STUDY_CLASSES[0]
            labelimg.write_annotation(annotation, path)

    def _make_model(self) -> None:
        """A SavedModel with TFOD's signature: a grid of boxes, their scores by the brightness inside."""
        folder = self.inputs / "model"
        if not (folder / "model.json").exists():
            code = "from tfod_csf.benchmarks.robustness import trials; import sys; trials.save_grid_model(sys.argv[1])"
            subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment())

    def _make_records(self) -> None:
        folder = self.inputs / "records"
        if (folder / "pipeline.config").exists():
            return
        slides.synthesize(self.inputs / "two_images", 2, 1, 2, slides.FieldSettings(200, 150), 1)
        flags = [f"--images_dir={self.inputs / 'two_images'}", f"--output_dir={folder}", "--test_fraction=0.5"]
        _run("create_csf_tf_record", *flags)
        flags = ["--feature_extractor=resnet18", "--input_size=64x64", f"--output_path={folder / 'generated.config'}"]
        _run("generate_pipeline_config", f"--records_dir={folder}", *flags)
        save_pipeline_config(_without_chance(folder / "generated.config"), folder / "pipeline.config")

    def _make_checkpoint(self) -> None:
        self._make_records()
        folder = self.inputs / "trained"
        if not (folder / "pipeline.config").exists():
            config = self.inputs / "records" / "pipeline.config"
            flags = ["--num_train_steps=1", "--seed=1", "--eval_every_n=0", "--norecord_summaries"]
            _run("model_main_tf2", f"--pipeline_config_path={config}", f"--model_dir={folder}", *flags)


def _without_chance(path: pathlib.Path) -> pipeline_pb2.TrainEvalPipelineConfig:
    """A config whose every step learns from the same: one image, no augmentation, all anchors and proposals.

    A resumed training sees the images in another order and draws other samples than an undisturbed one; where there is
    nothing to order and to draw, both must end with the same weights.
    """
    config = load_pipeline_config(path)
    config.train_config.ClearField("data_augmentation_options")
    config.train_config.batch_size = 1
    network = config.model.faster_rcnn
    network.first_stage_minibatch_size = 4096
    network.first_stage_max_proposals = network.second_stage_batch_size = 32
    network.second_stage_balance_fraction = 1.0
    return config


def _run(*command: str) -> None:
    subprocess.run([sys.executable, "-m", "tfod_csf", *command], check=True, capture_output=True, env=environment())


def environment() -> dict[str, str]:
    """For all runs: TensorFlow adds in one order, so that equal runs have equal weights."""
    return os.environ | {"TF_DETERMINISTIC_OPS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def save_grid_model(folder: str) -> None:
    """Writes a model folder whose SavedModel finds 12 cells on a grid."""
    import numpy as np
    import tensorflow as tf

    rows, columns = np.divmod(np.arange(12), 4)
    boxes = np.stack([rows / 3, columns / 4, rows / 3 + 0.2, columns / 4 + 0.15], axis=1).astype(np.float32)
    module = tf.Module()
    module.gain = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")])
    def serve(input_tensor):
        images = tf.cast(input_tensor, tf.float32) / 255
        crops = tf.image.crop_and_resize(images, boxes, tf.zeros(len(boxes), tf.int32), [8, 8])
        scores = 0.55 + 0.4 * module.gain * tf.reduce_mean(crops, [1, 2, 3])
        one_hot = tf.one_hot(np.arange(len(boxes)) % len(STUDY_CLASSES) + 1, len(STUDY_CLASSES) + 1)
        return {
            "detection_boxes": tf.constant(boxes)[tf.newaxis],
            "detection_scores": scores[tf.newaxis],
            "detection_classes": tf.cast(tf.argmax(one_hot, axis=1), tf.float32)[tf.newaxis],
            "detection_multiclass_scores": (one_hot * scores[:, tf.newaxis])[tf.newaxis],
            "num_detections": tf.constant([float(len(boxes))]),
        }

    path = pathlib.Path(folder)
    module.serve = serve
    tf.saved_model.save(module, str(path / "saved_model"), signatures={"serving_default": serve})
    save_label_map(label_map_from_names(STUDY_CLASSES), path / "label_map.pbtxt")
    atomic_write.write_json(path / "model.json", {"input_type": "image_tensor"})
