"""Fields with rare cells in few patients."""

from collections import Counter

from tfod_csf.benchmarks.label_choice import drawn_pool
from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.files import tfrecord
from tfod_csf.files.tf_example import Features
from tfod_csf.label_map import label_map_from_names


def names_of(fields, kind):
    return Counter(cell.name for one in fields if one.patient_id.startswith(kind) for cell in one.objects)


def test_rare_cells_are_in_their_patients_alone():
    fields = drawn_pool.draw({"common": 2, "monocytes": 1, "neutrophils": 1}, 4, seed=3)
    assert len({one.image for one in fields}) == 16
    assert set(names_of(fields, "common")) == {"lymphocyte", "erythrocyte"}
    assert set(names_of(fields, "monocytes")) == {"lymphocyte", "erythrocyte", "monocyte"}
    assert set(names_of(fields, "neutrophils")) == {"lymphocyte", "erythrocyte", "neutrophil"}


def test_another_seed_draws_other_patients():
    first, again, other = (drawn_pool.draw({"common": 1}, 1, seed)[0] for seed in (1, 1, 2))
    assert (first.pixels == again.pixels).all()
    assert first.patient_id != other.patient_id
    assert (first.pixels != other.pixels).any()


def test_the_record_holds_the_labels(tmp_path):
    fields = drawn_pool.draw({"monocytes": 1}, 2, seed=5)
    drawn_pool.write_record(fields, label_map_from_names(STUDY_CLASSES), tmp_path / "train.record")
    read = [Features(record, "") for record in tfrecord.read_records(tmp_path / "train.record")]
    assert [one.image_name for one in read] == [one.image for one in fields]
    assert [one.texts("image/object/class/text") for one in read] == [[c.name for c in one.objects] for one in fields]
