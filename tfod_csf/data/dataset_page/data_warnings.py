"""What a person should know of a set of records before training with it, the worst first."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from tfod_csf.data.dataset_page import appearance
from tfod_csf.data.dataset_page.anchor_fit import GOOD, POOR, Anchors, ClassSizes
from tfod_csf.data.dataset_page.appearance import Appearance
from tfod_csf.data.dataset_page.leaks import DUPLICATE, NEAR_DUPLICATE, Leak
from tfod_csf.data.dataset_page.record_survey import Survey
from tfod_csf.wording import named, plural

STOP, LOOK = "stop", "look"
FEW_TEST_CELLS = 20  # of a class: 95 % interval of a recall of 0.9 is then 0.70 to 0.97 (Wilson)
_MUCH_LESS = 2.0  # a class's share of the test side is this much smaller or larger than of all cells
_RARE = 0.02  # of all cells
_MANY_POOR = 0.05  # of a class's boxes
_MANY_AT_EDGE = 0.25  # of a class's boxes
_MANY_EMPTY = 0.5  # of the images
_MOST_LABELS = 0.5  # of all labels
_MANY_IMAGES, _MIN_IMAGES = 0.25, 3  # that have a name without a class
_SHOWN_NAMES = 5
_OWN_ANCHORS = "generate_pipeline_config takes the scales of the anchors from the boxes."
_MODEL_ANCHORS = (
    "The config keeps the anchors of the model that it starts from: accept this, or generate the config without "
    "--fine_tune_from, which takes the scales of the anchors from the boxes."
)


@dataclasses.dataclass(frozen=True)
class DataWarning:
    """One sentence, and the section of the page that shows more.

    Attributes:
      level: STOP, what makes the numbers of the test wrong; or LOOK.
      section: id of the section.
    """

    level: str
    section: str
    text: str


@dataclasses.dataclass(frozen=True)
class NameWithoutClass:
    """A name in the annotations that fits no class of the label map, so that none of its objects is learned.

    Attributes:
      objects: how many have it.
      images: how many have such an object.
      nearest: `LabelMap.nearest`.
    """

    name: str
    objects: int
    images: int
    nearest: str | None


def find_warnings(
    survey: Survey,
    leaks: Sequence[Leak],
    repeats: Mapping[str, int],
    shared_patients: Sequence[str],
    groups: Sequence[Appearance],
    sizes: Mapping[str, ClassSizes],
    names: Sequence[str],
    without_class: Sequence[NameWithoutClass] = (),
    anchors: Anchors | None = None,
) -> list[DataWarning]:
    """All warnings, STOP before LOOK.

    Args:
      repeats: `leaks.repeats_within_sides`.
      shared_patients: `leaks.shared_patients`.
      groups: of patients and of laboratories.
      sizes: `anchor_fit.class_sizes`.
      names: of all classes, those without a box too.
      without_class: the names that are none.
      anchors: that `sizes` was made with.
    """
    found = [
        *_of_names(survey, without_class),
        *_of_split(survey, leaks, repeats, shared_patients),
        *_of_classes(survey, names),
        *_of_images(survey),
        *_of_appearance(groups),
        *_of_sizes(survey, sizes, is_of_model=anchors is not None and anchors.is_of_model),
    ]
    return sorted(found, key=lambda warning: warning.level != STOP)


def _of_names(survey: Survey, without_class: Sequence[NameWithoutClass]) -> Iterator[DataWarning]:
    """A class that is written in one way in the annotations and in another in the label map."""
    total = (survey.cells("train") + survey.cells("test")).total() + sum(one.objects for one in without_class)
    meant = sorted(without_class, key=lambda one: (-one.objects, one.name))
    if sum(one.objects for one in meant) < _MOST_LABELS * total:
        least = max(_MIN_IMAGES, _MANY_IMAGES * len(survey.images))
        meant = [one for one in meant if one.images >= least]
    if not meant:
        return
    shown = [
        f"{one.name!r} ({one.objects:,}{f'; did you mean {one.nearest!r}?' if one.nearest else ''})"
        for one in meant[:_SHOWN_NAMES]
    ]
    if len(meant) > _SHOWN_NAMES:
        shown.append(f"and {plural(len(meant) - _SHOWN_NAMES, 'other name')}")
    text = (
        f"{sum(one.objects for one in meant):,} of {total:,} labels fit no class of the label map, so they are not "
        f"learned: {', '.join(shown)}. Correct the label map, or give create_csf_tf_record "
        f"--class_map='{meant[0].name}=CLASS' to rename them, '{meant[0].name}=unknown' to ignore them or "
        f"'{meant[0].name}=' to drop them."
    )
    yield DataWarning(STOP, "balance", text)


def _of_split(
    survey: Survey, leaks: Sequence[Leak], repeats: Mapping[str, int], shared: Sequence[str]
) -> Iterator[DataWarning]:
    num_test = sum(1 for _ in survey.of_side("test"))
    for kind, what in ((DUPLICATE, "the same file"), (NEAR_DUPLICATE, "nearly the same picture")):
        tests = {leak.test for leak in leaks if leak.kind == kind}
        if tests:
            of_all = f"{len(tests):,} of {num_test:,} test images"
            has = "has" if len(tests) == 1 else "have"
            text = f"Leak: {of_all} {has} {what} among the training images, which makes the test look too good."
            yield DataWarning(STOP, "leaks", text)
    if shared:
        text = (
            f"{plural(len(shared), 'patient')} {'has' if len(shared) == 1 else 'have'} images on both sides "
            f"({named(shared)}): the test says how well cells of known patients are found, not those of new ones. "
            "create_csf_tf_record --split_by=patient divides by patients."
        )
        yield DataWarning(STOP, "leaks", text)
    folders = {image.patient_id for image in survey.images}
    if num_test and len(folders) == 1:
        yield DataWarning(LOOK, "leaks", _of_unknown_patients(*folders))
    not_compared = sum(
        image.side == "test" and number not in survey.fingerprints for number, image in enumerate(survey.images)
    )
    if not_compared > _MANY_EMPTY * num_test:
        text = (
            f"{not_compared:,} of {num_test:,} test images show too little to be compared with the training images: of "
            "leaks among them only equal files are found."
        )
        yield DataWarning(LOOK, "leaks", text)
    if not num_test:
        yield DataWarning(LOOK, "balance", "There is no test side: nothing will be evaluated.")
    for side, number in repeats.items():
        if number:
            text = f"{plural(number, 'image')} on the {side} side {'is' if number == 1 else 'are'} there before, as the same file: these cells count twice."  # noqa: E501
            yield DataWarning(LOOK, "leaks", text)


def _of_unknown_patients(folder: str) -> str:
    """That nothing is known of patients where all images are in one folder, or in none ("")."""
    if not folder:
        return (
            "The names of the images in these records have no folder, so it is not known whose they are: patients on "
            "both sides cannot be found."
        )
    return (
        f"All images are in one folder ({named([folder])}). If it is a patient's, the test says how well cells of this "
        "patient are found, not those of new ones; if not, it is not known whose the images are, and patients on both "
        "sides cannot be found."
    )


def _of_classes(survey: Survey, names: Sequence[str]) -> Iterator[DataWarning]:
    train, test = survey.cells("train"), survey.cells("test")
    total, total_test = train.total() + test.total(), test.total()
    for name in names:
        of_both = train[name] + test[name]
        if not of_both:
            yield DataWarning(LOOK, "balance", f"No {name} in these records: it cannot be learned.")
            continue
        if not train[name]:
            yield DataWarning(STOP, "balance", f"No {name} to train with: all {of_both:,} are on the test side.")
        elif total_test and test[name] < FEW_TEST_CELLS:
            text = f"{plural(test[name], name)} to test with: what the test says of this class will be mostly chance."
            yield DataWarning(LOOK, "balance", text)
        elif total_test:
            factor = (test[name] / total_test) / (of_both / total)
            if not 1 / _MUCH_LESS <= factor <= _MUCH_LESS:
                text = f"{name}: {100 * test[name] / total_test:.1f} % of the test side's cells, but {100 * of_both / total:.1f} % of all."  # noqa: E501
                yield DataWarning(LOOK, "balance", text)
        if of_both < _RARE * total:
            text = f"{name} is rare: {plural(of_both, 'cell')}, {100 * of_both / total:.1f} % of all."
            yield DataWarning(LOOK, "balance", text)


def _of_images(survey: Survey) -> Iterator[DataWarning]:
    if survey.num_skipped:
        text = f"{plural(survey.num_skipped, 'image')} cannot be decoded and {'is' if survey.num_skipped == 1 else 'are'} not on this page; training stops there."  # noqa: E501
        yield DataWarning(STOP, "images", text)
    empty = sum(not image.cells for image in survey.images)
    if empty > _MANY_EMPTY * len(survey.images):
        text = f"{empty:,} of {len(survey.images):,} images have no cell: is their labeling finished?"
        yield DataWarning(LOOK, "images", text)
    typical = appearance.typical_edge_width(survey.images)
    blurred = sum(appearance.is_blurred(image, typical) for image in survey.images)
    if blurred:
        text = f"{plural(blurred, 'image')} {'is' if blurred == 1 else 'are'} blurred: edges more than {appearance.BLURRED:g} times as wide as in the median image."  # noqa: E501
        yield DataWarning(LOOK, "appearance", text)


def _of_appearance(groups: Sequence[Appearance]) -> Iterator[DataWarning]:
    for level in (appearance.LABORATORY, appearance.PATIENT):
        for part in ("background", "nucleus"):
            far = [g.name for g in groups if g.level == level and _distance(g, part) > appearance.OTHER_COLOR]
            if far:
                what = {"background": "The background", "nucleus": "The stain of the nuclei"}[part]
                several = {"patient": "patients", "laboratory": "laboratories"}[level]
                text = f"{what} of {plural(len(far), level, several)} ({named(far)}) has another color than is typical."
                yield DataWarning(LOOK, "appearance", text)


def _distance(group: Appearance, part: str) -> float:
    return {"background": group.background_distance, "nucleus": group.nucleus_distance}[part] or 0.0


def _of_sizes(survey: Survey, sizes: Mapping[str, ClassSizes], is_of_model: bool) -> Iterator[DataWarning]:
    remedy = _MODEL_ANCHORS if is_of_model else _OWN_ANCHORS
    at_edge = survey.at_edge()
    for name, of_class in sizes.items():
        if of_class.poor is not None and of_class.good is not None and of_class.poor > _MANY_POOR:
            text = (
                f"{name}: no anchor fits {100 * of_class.poor:.0f} % of the boxes (best IoU below {POOR:g}); "
                f"{100 * of_class.good:.0f} % have one of {GOOD:g} or more. {remedy}"
            )
            yield DataWarning(LOOK, "sizes", text)
        if at_edge[name] > _MANY_AT_EDGE * of_class.total:
            share = 100 * at_edge[name] / of_class.total
            yield DataWarning(LOOK, "edges", f"{name}: {share:.0f} % of the boxes are cut at an edge of their image.")
