"""Chooses Keras 2 (tf_keras) before TensorFlow is imported; import this module before `tensorflow`.

tf-models-official 2.20 and TFOD's checkpoint layout are Keras 2. The choice is made here, by our code, so that it does
not depend on what TF_USE_LEGACY_KERAS happens to be in the user's environment.
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if "tensorflow" in sys.modules and getattr(sys.modules["tensorflow"].keras, "__version__", "2.").startswith("3."):
    raise ImportError(
        "tensorflow was imported with Keras 3 before tfod_csf; import tfod_csf's training or modeling code first, "
        "or set TF_USE_LEGACY_KERAS=1."
    )
