"""Labeled cells with scores, as thresholds are chosen on, from lists that can be read."""

import numpy as np

from tfod_csf.evaluation.thresholds.scored_cells import IGNORED, NO_LABEL, ScoredCells

CLASSES = ("lymphocyte", "monocyte", "neutrophil")
_LETTERS = {"L": 0, "M": 1, "N": 2, "-": NO_LABEL, "?": IGNORED}


def scored_cells(patients, num_labels=None):
    """From {patient: ("LLM" for its labels, [(predicted, label, score)])}; - is no label, ? an ignored one."""
    rows = [
        (_LETTERS[predicted], _LETTERS[label], score, number)
        for number, (_, cells) in enumerate(patients.values())
        for predicted, label, score in cells
    ]
    table = np.array(rows, float).reshape(-1, 4)
    labels = [[text.count(letter) for letter in "LMN"] for text, _ in patients.values()]
    of_patients = np.array(labels, int).reshape(-1, 3)
    return ScoredCells(
        classes=CLASSES,
        predicted=table[:, 0].astype(int),
        labeled=table[:, 1].astype(int),
        raw_scores=table[:, 2],
        scores=table[:, 2],
        patients=table[:, 3].astype(int),
        patient_ids=tuple(patients),
        num_labels=of_patients.sum(axis=0) if num_labels is None else np.array(num_labels),
        labels_of_patients=of_patients,
    )
