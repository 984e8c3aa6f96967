"""IRs of OpenVINO written by hand, for tests of what is checked before one is loaded; none of them can be run."""

import pathlib
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr


def write(
    folder: pathlib.Path,
    layers: Sequence[tuple[str, str]],
    in_loop: Sequence[tuple[str, str]] = (),
    num_weight_bytes: int = 4,
) -> None:
    """Writes model.xml and model.bin.

    Args:
      layers: (type, set of operations) of each.
      in_loop: the same of the layers in the body of a loop.
      num_weight_bytes: size of model.bin, all of which the graph uses.
    """
    body = f'<layer id="98" type="Loop" version="opset5"><body><layers>{_layers(in_loop)}</layers></body></layer>'
    weights = f'<layer id="99" type="Const" version="opset1"><data offset="0" size="{num_weight_bytes}"/></layer>'
    text = f'<?xml version="1.0"?>\n<net name="n" version="11"><layers>{_layers(layers)}{body}{weights}</layers></net>'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.xml").write_text(text, encoding="utf-8")
    (folder / "model.bin").write_bytes(b"\0" * num_weight_bytes)


def _layers(layers: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f'<layer id="{number}" type={quoteattr(kind)} version={quoteattr(operation_set)}/>'
        for number, (kind, operation_set) in enumerate(layers)
    )
