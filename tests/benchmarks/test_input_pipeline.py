import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.benchmarks import input_pipeline
from tfod_csf.config.protos import pipeline_pb2

CONFIG = """
model {
  faster_rcnn {
    num_classes: 1
    image_resizer { fixed_shape_resizer { height: 16 width: 24 } }
    feature_extractor { type: "faster_rcnn_resnet18_keras" }
  }
}
train_config { batch_size: 2 data_augmentation_options { random_horizontal_flip { } } }
train_input_reader { num_epochs: 1 tf_record_input_reader { input_path: "elsewhere.record" } }
"""


def test_measure(tmp_path):
    image = tf.io.encode_jpeg(np.zeros((8, 8, 3), np.uint8)).numpy()
    features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    path = str(tmp_path / "a.record")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(example.SerializeToString())
    config = text_format.Parse(CONFIG, pipeline_pb2.TrainEvalPipelineConfig())
    found = input_pipeline.measure([path], config, seconds=0.2)
    assert found["images"] >= 2
    assert found["images_per_second"] > 0
    assert found["cpu_seconds_per_image"] > 0
    assert (found["batch_size"], found["height_px"], found["width_px"]) == (2, 16, 24)
