"""Keeps OpenVINO and NNCF from reporting to a server of Intel's; import this module before them.

Importing OpenVINO already sends a message unless the user has declined, and a laboratory's computer should send none.
Both work without the package that sends.
"""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_modules["openvino_telemetry"] = None  # its import fails from now on
