import json

import pytest


class _Worker:
    """Of several: the first, or one that knows what the first has said."""

    def __init__(self, of_chief=None):
        self.said, self._of_chief = None, of_chief

    def of_chief(self, value):
        self.said = json.loads(json.dumps(value))
        return self._of_chief or value


def test_workers_that_would_wait_for_each_other_are_refused():
    from tfod_csf.config.protos import pipeline_pb2
    from tfod_csf.data.records.record_statistics import RecordStatistics
    from tfod_csf.training import run_start, training_loop
    from tfod_csf.training.preflight import Preflight
    from tfod_csf.training.preflight_checks import CheckedInput, TrainingSetupError

    def check(worker, batch_size=2, folder="here", every=0, seed=None, images=(b"1", b"2")):
        config = pipeline_pb2.TrainEvalPipelineConfig()
        config.train_config.batch_size = batch_size
        config.train_config.fine_tune_checkpoint = f"{folder}/ckpt-0"
        for reader in (config.train_input_reader, config.eval_input_reader.add()):
            reader.label_map_path = f"{folder}/label_map.pbtxt"
            reader.tf_record_input_reader.input_path.append(f"{folder}/train.record")
        settings = training_loop.LoopSettings(10, eval_every_n=every)
        checked = Preflight(CheckedInput(None, RecordStatistics(image_digests=set(images))), (), ())
        run_start.check_same_on_all(config, settings, run_start.RunOptions(2, seed=seed), checked, worker)

    first = _Worker()
    check(first)
    check(_Worker(first.said), folder="elsewhere", seed=1)
    with pytest.raises(TrainingSetupError, match="this worker is not as the first one in: eval_every_n;"):
        check(_Worker(first.said), every=4)
    with pytest.raises(TrainingSetupError, match="in: pipeline config;"):
        check(_Worker(first.said), batch_size=4)
    with pytest.raises(TrainingSetupError, match="in: version of tfod_csf;"):
        check(_Worker({**first.said, "version of tfod_csf": "0.1"}))
    with pytest.raises(TrainingSetupError, match="in: training images;"):
        check(_Worker(first.said), images=[b"1", b"3"])
