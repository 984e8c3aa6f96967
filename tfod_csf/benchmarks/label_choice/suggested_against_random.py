"""How many labels a network needs for a mean average precision when suggest_labels chooses the images, and at random.

    python -m tfod_csf.benchmarks.label_choice.suggested_against_random FOLDER [NUM_REPEATS]

A network has learned drawn fields in which monocytes and neutrophils are rare. In each repeat there are 180 new fields
of twelve patients, one of whom has monocytes and one neutrophils. The first 6, 12 and 24 of them in the order of
suggest_labels (ranked once), and 6, 12 and 24 at random, are labeled; the network learns on from the same weights, for
as many steps each time, with the old and the new labels, and is evaluated on fields of other patients. Each number of
suggested fields is compared with as many random ones, and with 24 random ones. Results are kept in FOLDER/results.json
after each training; run again, the program resumes.
"""

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from tfod_csf.benchmarks.label_choice import drawn_pool
from tfod_csf.benchmarks.label_choice.drawn_pool import Field
from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.errors import UserError
from tfod_csf.evaluation.label_choice import image_measures, suggestions
from tfod_csf.evaluation.label_choice.suggestions import LabeledImages
from tfod_csf.files import atomic_write
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.label_map import LabelMap, label_map_from_names

SUGGESTED, RANDOM, START = "suggested", "random", "start"
NUM_CHOSEN = (6, 12, 24)
_START = (({"common": 6}, 6), ({"monocytes": 1, "neutrophils": 1}, 2))
_POOL = ({"common": 10, "monocytes": 1, "neutrophils": 1}, 15)
_TEST = ({"common": 2, "monocytes": 3, "neutrophils": 3}, 6)
_STEPS = 240
_START_TRAININGS = 6


def suggested_order(found: Sequence[Any], pool: list[Field], start: list[Field], label_map: LabelMap) -> list[int]:
    """Numbers of the pool's fields in the order of suggest_labels.

    Args:
      found: `Detections` of each field of the pool.
      start: what is labeled.
    """
    thresholds = ScoreThresholds(min_score=image_measures.LEAST_SCORE)
    measures = [
        image_measures.measure(
            one.image, one.patient_id, one.pixels, select_cells(cells, label_map, thresholds).detections, label_map
        )
        for one, cells in zip(pool, found, strict=True)
    ]
    classes = [[label_map.id_of(cell.name) for cell in one.objects] for one in start]
    descriptions = [
        image_measures.describe_labeled(one.pixels, own, label_map) for one, own in zip(start, classes, strict=True)
    ]
    numbers = np.bincount(np.concatenate(classes), minlength=len(label_map) + 1)[1:]
    labeled = LabeledImages([one.image for one in start], descriptions, numbers)
    place = {one.image: number for number, one in enumerate(pool)}
    return [place[one.image] for one in suggestions.suggest(measures, labeled, label_map.names)]


class Results:
    """What was measured, kept in a file with the settings: {repeat, choice, fields, labels, map, rare_labels}.

    Raises:
      UserError: the file is of other settings.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._settings = {"steps": _STEPS, "start_trainings": _START_TRAININGS, "num_chosen": list(NUM_CHOSEN)}
        self.rows: list[dict] = []
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["settings"] != self._settings:
                raise UserError(f"{path}: is of {stored['settings']}, not {self._settings}; give a new folder.")
            self.rows = stored["rows"]

    def has(self, repeat: int, choice: str, fields: int) -> bool:
        """Whether a training is done."""
        return any((row["repeat"], row["choice"], row["fields"]) == (repeat, choice, fields) for row in self.rows)

    def add(self, **row: Any) -> None:
        """Keeps a row."""
        self.rows.append(row)
        atomic_write.write_json(self._path, {"settings": self._settings, "rows": self.rows})
        print(row, flush=True)


def _run_repeat(network: Any, start: list[Field], first: list[np.ndarray], repeat: int, results: Results) -> None:
    pool, test = drawn_pool.draw(*_POOL, seed=1000 + repeat), drawn_pool.draw(*_TEST, seed=2000 + repeat)
    network.weights = first
    if not results.has(repeat, START, 0):
        mean = network.mean_average_precision(test)
        results.add(repeat=repeat, choice=START, fields=0, labels=0, map=mean, rare_labels=0)
    orders = {
        SUGGESTED: suggested_order(network.detect(pool), pool, start, network.label_map),
        RANDOM: np.random.default_rng(repeat).permutation(len(pool)).tolist(),
    }
    for choice, order in orders.items():
        for number in NUM_CHOSEN:
            if results.has(repeat, choice, number):
                continue
            chosen = [pool[place] for place in order[:number]]
            drawn_pool.write_record([*start, *chosen], network.label_map, network.record)
            network.weights = first
            network.train(seed=repeat)
            cells = [cell.name for one in chosen for cell in one.objects]
            rare = sum(name in ("monocyte", "neutrophil") for name in cells)
            mean = network.mean_average_precision(test)
            results.add(repeat=repeat, choice=choice, fields=number, labels=len(cells), map=mean, rare_labels=rare)


def summary(rows: Sequence[dict]) -> str:
    """The table of all repeats that are complete."""
    of = {(row["repeat"], row["choice"], row["fields"]): row for row in rows}
    needed = [(START, 0), *((choice, number) for choice in (SUGGESTED, RANDOM) for number in NUM_CHOSEN)]
    repeats = [
        repeat for repeat in sorted({row["repeat"] for row in rows}) if all((repeat, *one) in of for one in needed)
    ]
    lines = [f"{len(repeats)} repeats; mAP of the start {interval([of[r, START, 0]['map'] for r in repeats])}"]
    for number in NUM_CHOSEN:
        for choice in (SUGGESTED, RANDOM):
            some = [of[repeat, choice, number] for repeat in repeats]
            means = [np.mean([row[name] for row in some]) for name in ("map", "labels", "rare_labels")]
            lines.append(
                f"{number} fields {choice}: mAP {means[0]:.3f}, {means[1]:.0f} labels, {means[2]:.0f} of them rare"
            )
        lines.append(f"    difference of mAP: {interval(_gains(of, repeats, number, number))}")
    last = NUM_CHOSEN[-1]
    for number in NUM_CHOSEN[:-1]:
        labels = np.mean(
            [of[repeat, SUGGESTED, number]["labels"] / of[repeat, RANDOM, last]["labels"] for repeat in repeats]
        )
        gains = interval(_gains(of, repeats, number, last))
        lines.append(f"{number} fields suggested against {last} random: {labels:.2f} of the labels, difference {gains}")
    return "\n".join(lines)


def _gains(of: Mapping[tuple, dict], repeats: Sequence[int], suggested: int, random: int) -> list[float]:
    """mAP of so many suggested fields above that of so many random ones, in each repeat."""
    return [of[repeat, SUGGESTED, suggested]["map"] - of[repeat, RANDOM, random]["map"] for repeat in repeats]


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval of the mean (Student's t)."""
    if len(values) < 2:
        return ", ".join(f"{value:.3f}" for value in values) or "none"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ({np.mean(values) - half:.3f} to {np.mean(values) + half:.3f})"


def main() -> None:
    """Trains the start, then runs the repeats that are missing."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in model_main_tf2
    from tfod_csf.benchmarks.label_choice.drawn_network import DrawnNetwork

    folder, num_repeats = pathlib.Path(sys.argv[1]), int([*sys.argv, "5"][2])
    folder.mkdir(parents=True, exist_ok=True)
    network = DrawnNetwork(label_map_from_names(STUDY_CLASSES), _STEPS, folder, seed=0)
    start = [
        one for number, (patients, fields) in enumerate(_START) for one in drawn_pool.draw(patients, fields, number)
    ]
    kept = folder / "start.npz"
    if not kept.is_file():
        drawn_pool.write_record(start, network.label_map, network.record)
        for turn in range(_START_TRAININGS):
            network.train(seed=turn)
            print(f"start: training {turn + 1} of {_START_TRAININGS} is done", flush=True)
        with atomic_write.replacing(kept, "wb") as file:
            np.savez(file, *network.weights)
    with np.load(kept) as stored:
        first = [stored[name] for name in stored.files]
    results = Results(folder / "results.json")
    for repeat in range(num_repeats):
        _run_repeat(network, start, first, repeat, results)
    print(summary(results.rows))


if __name__ == "__main__":
    main()
