"""Faster R-CNN of the TensorFlow Object Detection API on today's TensorFlow, with the CSF cell differential."""

__version__ = "0.2.0"
