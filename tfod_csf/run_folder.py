"""The output folder of batch_infer: names that inference writes and cytology reads.

OUT/patients/<id>/cells.csv, images.csv    one patient
OUT/classification/<model>.json            copy of the model's classification.json, where it has one
OUT/rounds/<n>/patients/<id>/...           round n = 2, 3, ... of the same images
"""

PATIENTS_DIR = "patients"
ROUNDS_DIR = "rounds"
# Folder of the copies, and key of a model's entry in run.json that names its own: {"file", "sha256"}.
CLASSIFICATION = "classification"
# Statuses in images.csv: an image that was examined, and one that could not be used.
OK = "ok"
FAILED = "failed"
