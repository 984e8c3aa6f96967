"""Store in a model folder what the model's training images look like, for its domain guard.

batch_infer then says of every image and patient whether it is like the training images, and in what it is not (stain,
light, size of the cells, focus, ...; docs/DOMAIN.md). exporter_main_v2 does this by itself where the training records
are there; this command is for models exported without them, for frozen graphs of TensorFlow 1, and for a model that
was validated on further images, whose records are then given too. Nothing else of the model changes.

Example: tfod_csf describe_domain --model=exported_models/csf --input_path='tfrecords/train.record-*'
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "model", None, "Exported model folder, whose model.json gets the description.", required=True, flag_values=FLAGS
)
common_flags.define_list(
    FLAGS,
    "input_path",
    None,
    "TFRecords of images that the model was trained or validated on: files, globs or name@N.",
    required=True,
)
flags.DEFINE_integer("max_images", 1000, "Images that are measured, spread evenly.", lower_bound=50, flag_values=FLAGS)
common_flags.define_trust(FLAGS)


def main() -> None:
    """Measures the images, stores the description, and says what was stored."""
    from tfod_csf import model_folder
    from tfod_csf.files import record_set, tfrecord
    from tfod_csf.shipped_models import by_name

    shards: list[str] = []
    for pattern in FLAGS.input_path:
        found = tfrecord.find_files(pattern)
        if not found:
            raise UserError(f"--input_path={pattern}: no such file; give the training record of create_csf_tf_record.")
        record_set.check_shards(found, pattern)
        shards += [path for path in found if path not in shards]
    folder = model_folder.ModelFolder.open(FLAGS.model, FLAGS.trust)
    by_name.refuse_to_change(folder.path)
    model_folder.check_storable(folder.path)

    from tfod_csf.inference.labeled import domain_description
    from tfod_csf.progress_bar import bar_over

    domain = domain_description.describe_records(
        shards, folder.label_map, folder.info, bar_over("image"), FLAGS.max_images
    )
    had_one = folder.info.get(model_folder.TRAINING_DOMAIN) is not None
    model_folder.store_training_domain(folder.path, domain.as_json())
    print(domain_description.described_words(domain))
    replaced = "replaced" if had_one else "stored"
    print(f"{replaced} in {folder.path / model_folder.INFO}; batch_infer uses it from now on.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "describe_domain"))
