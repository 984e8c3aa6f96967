"""Write an exported model in the form in which it ships, with its model card.

It has about half the bytes: weights are stored once, in half precision. Everything is still computed in float32, and
TensorFlow alone loads the result. The folder is used wherever a model folder is, and trainings start from it
(generate_pipeline_config --fine_tune_from). It appears only if it finds what the export finds, within the tolerance of
model_check. The temperature and the confusion matrix are not copied: run calibrate and evaluate with the new folder. In
tfod_csf/shipped_models/, it is found by its name.

Example: tfod_csf pack_model --model=exported_models/csf --model_version=1.0 --model_card=MODEL_CARD.md
--output_dir=packed/csf_small
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "model", None, "Exported model folder, written by exporter_main_v2.", required=True, flag_values=FLAGS
)
flags.DEFINE_string("model_version", None, "Version of the model, such as 1.0.", required=True, flag_values=FLAGS)
flags.DEFINE_string(
    "model_card",
    None,
    "Text file that says what the model was trained on, how good it is, and what it must not be used for.",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "training_images",
    True,
    "Keep in model.json how large the training images were, by which --tile_size=model and its notices go; not for a "
    "model whose training images were enlarged and reduced, so that cells had no one size.",
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS, "Folder to write, called as the model is to be called; made if absent.")
common_flags.define_trust(FLAGS)


def main() -> None:
    """Checks paths, packs, and says how large the folder is and how far its detections differ."""
    from tfod_csf.model_folder import ModelFolder

    source, output = ModelFolder.open(FLAGS.model, FLAGS.trust), common_flags.output_dir(FLAGS)
    card = pathlib.Path(FLAGS.model_card)

    from tfod_csf.export import export_checks

    export_checks.check_packing(source, output, FLAGS.model_version, card)

    from tfod_csf.export import exporter, packing
    from tfod_csf.files import folder_lock

    exporter.use_only_the_cpu()
    with folder_lock.only_writer(output, swapped=True):
        packed = packing.pack(source, output, FLAGS.model_version, card, FLAGS.training_images)
    found = packed.from_source
    print(
        f"Wrote {output}, {packed.num_bytes / 1e6:.1f} MB. {found.num_cells - found.num_missing} of {found.num_cells} "
        f"detections (the export's and the packed model's) are also in the other; scores differ by at most "
        f"{found.largest_score:.2g}, boxes by {found.largest_box_px:.2g} px."
    )
    if packed.thresholds_reset:
        print(
            "Its thresholds are those from before evaluate --store_thresholds, which chose on scores at the "
            "temperature of calibrate; run both with the new folder."
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "pack_model"))
