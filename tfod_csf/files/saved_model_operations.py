"""Which operations of a SavedModel reach beyond computing: files, network, Python. Read before TensorFlow loads it.

A SavedModel is a program. TensorFlow runs whatever operations it holds with the rights of the user, and a detection
model needs none of those listed here. Every SavedModel saves and restores its variables in two functions of its own,
which nothing but TensorFlow's saver calls: only there such operations are in place.

The list is of TensorFlow 2.20's registered operations (tests/files/test_saved_model_operations.py goes through all of
them); one that is not registered cannot be loaded.
"""

import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from tfod_csf.errors import UserError
from tfod_csf.files import given_files, saved_model_pb2

SAVED_MODEL = "saved_model.pb"
# TensorFlow takes these instead of saved_model.pb where they are there.
_MAX_BYTES = 2_147_483_647  # of a protobuf message
_OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")

_SAVER = "SaveV2|RestoreV2|MergeV2Checkpoints"
_FILES = (
    "ReadFile|WriteFile|MatchingFiles|.*Reader|Reader.*|RecordInput|ImmutableConst|FileSystemSetConfiguration|"
    # Datasets that read files, or keep what they hold in one.
    "(TextLine|FixedLengthRecord|TFRecord|CSV|Sql|LMDB|MatchingFiles|Cache|Save|Load|Snapshot|SnapshotChunk)Dataset|"
    "DatasetToTFRecord|ListSnapshotChunksDataset|.*BigQuery.*|"
    # Tables and samplers made from a file.
    "InitializeTableFromTextFile|GenerateVocabRemapping|LoadAndRemapMatrix|Skipgram|FixedUnigramCandidateSampler|"
    "DecodeProto|EncodeProto|"
    # Event files, dumps, and printing, which can be into a file.
    "CreateSummary(File|Db)Writer|Print|DumpTensor|CalibrationStatisticsSaver|"
    "Save|SaveSlices|Restore|RestoreSlice|DTensorRestore|DistributedSave"
)
_NETWORK = "Rpc.*|RemoteCall|DataServiceDataset|RegisterDataset|Debug(Identity|NanCount|NumericSummary)|Copy|CopyHost"
# Code of another kind, or a graph inside a string, which cannot be looked into.
_CODE = "PyFunc|PyFuncStateless|EagerPyFunc|DatasetFromGraph|XlaCustomCall|XlaCallModule|.*XlaHostCompute(Mlir)?"
_BEYOND_COMPUTING = re.compile(rf"_?(Experimental)?({_SAVER}|({_FILES}|{_NETWORK}|{_CODE})(V\d+)?)")
_SAVER_ONLY = re.compile(_SAVER)


class SavedModelError(UserError):
    """A saved_model.pb that cannot be read."""


def reaches_beyond(op: str) -> bool:
    """Whether an operation can reach files, the network or Python.

    >>> reaches_beyond("WriteFile"), reaches_beyond("TFRecordDatasetV2"), reaches_beyond("DecodeJpeg")
    (True, True, False)
    """
    return _BEYOND_COMPUTING.fullmatch(op) is not None


def operations_beyond_computing(saved_model_dir: str | os.PathLike) -> list[str]:
    """Sorted names of the operations that reach beyond computing, in any graph or function of the SavedModel.

    Raises:
      SavedModelError: it cannot be read, or has a second form beside saved_model.pb, which TensorFlow would load.
    """
    folder = pathlib.Path(saved_model_dir)
    for name in _OTHER_FORMS:
        if (folder / name).exists():
            raise SavedModelError(
                f"{folder / name}: is not what an exporter of detection models writes, and what it holds cannot be "
                "checked; export the model again with exporter_main_v2."
            )
    path = folder / SAVED_MODEL
    try:
        model: Any = saved_model_pb2.SavedModel.FromString(given_files.read_bytes(path, _MAX_BYTES))
    except DecodeError as error:
        raise SavedModelError(
            f"{path}: is damaged or not a SavedModel; copy the model again, or export it with exporter_main_v2."
        ) from error
    if not model.meta_graphs:
        raise SavedModelError(f"{path}: holds no graph; copy the model again, or export it with exporter_main_v2.")
    return sorted({op for graph in model.meta_graphs for op in _operations(graph)})


def _operations(meta_graph: Any) -> Iterator[str]:
    saver_functions = _functions_of_saver(meta_graph)
    yield from filter(reaches_beyond, (node.op for node in meta_graph.graph_def.node))
    for function in meta_graph.graph_def.library.function:
        for node in function.node_def:
            is_saver = function.signature.name in saver_functions and _SAVER_ONLY.fullmatch(node.op)
            if reaches_beyond(node.op) and not is_saver:
                yield node.op


def _functions_of_saver(meta_graph: Any) -> set[str]:
    """Functions that save and restore the variables, and that nothing else calls."""
    graph, saver = meta_graph.graph_def, meta_graph.saver_def
    nodes = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    of_saver = {name for node in graph.node if node.name in nodes for name in _functions_of_node(node)}
    others = [node for node in graph.node if node.name not in nodes]
    others += [node for function in graph.library.function for node in function.node_def]
    called = {name for node in others for name in _functions_of_node(node)}
    called |= {name for gradient in graph.library.gradient for name in (gradient.function_name, gradient.gradient_func)}
    return of_saver - called - set(meta_graph.object_graph_def.concrete_functions)


def _functions_of_node(node: Any) -> Iterable[str]:
    """Names of the functions a node calls; an operation may itself be the name of one."""
    return [node.op, *_functions_of_attributes(node.attr)]


def _functions_of_attributes(attributes: Mapping[str, Any]) -> Iterator[str]:
    for value in attributes.values():
        for reference in (value.func, *value.list.func):
            if reference.name:
                yield reference.name
                yield from _functions_of_attributes(reference.attr)
