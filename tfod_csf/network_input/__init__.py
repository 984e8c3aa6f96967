from tfod_csf import legacy_keras  # noqa: F401  (has to run before the first import of tensorflow)
