"""Which operations of a SavedModel are found, wherever they hide, and that TensorFlow's list of them is covered."""

import re

import pytest

from tests.support.saved_models import ONE_EMPTY_GRAPH, graph_of
from tfod_csf.files import saved_model_operations
from tfod_csf.files.saved_model_operations import SavedModelError, operations_beyond_computing, reaches_beyond

SAVING = [("ShardedFilename", ""), ("SaveV2", ""), ("MergeV2Checkpoints", "")]
SAVER_NODES = [("save", "StatefulPartitionedCall", "f_save"), ("restore", "StatefulPartitionedCall", "f_restore")]
SAVER = {"nodes": SAVER_NODES, "save": "save", "restore": "restore"}
SAVER_FUNCTIONS = {"f_save": SAVING, "f_restore": [("RestoreV2", ""), ("AssignVariableOp", "")]}


def found_in(tmp_path, model):
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    return operations_beyond_computing(tmp_path)


def test_operations_of_graph_and_functions_are_found(tmp_path):
    functions = {"serve": [("Conv2D", ""), ("ReadFile", ""), ("DecodeJpeg", "")], "inner": [("EagerPyFunc", "")]}
    model = graph_of(functions, nodes=[("n", "WriteFile", ""), ("m", "Const", "")])
    assert found_in(tmp_path, model) == ["EagerPyFunc", "ReadFile", "WriteFile"]


def test_a_model_may_save_and_restore_itself(tmp_path):
    model = graph_of({**SAVER_FUNCTIONS, "serve": [("Conv2D", "")]}, **SAVER, concrete_functions=["serve"])
    assert found_in(tmp_path, model) == []


@pytest.mark.parametrize(
    "change",
    [
        {"functions": {**SAVER_FUNCTIONS, "serve": [("PartitionedCall", "f_save")]}},
        {"functions": {**SAVER_FUNCTIONS, "serve": [("f_save", "")]}},
        {"concrete_functions": ["f_save"]},
        {"nodes": [*SAVER_NODES, ("other", "StatefulPartitionedCall", "f_save")]},
        {"save": "another"},
    ],
    ids=["called", "called by name", "a signature", "called in the graph", "not the saver's"],
)
def test_a_saver_that_something_else_can_call_is_found(tmp_path, change):
    model = graph_of(**{"functions": SAVER_FUNCTIONS, **SAVER, **change})
    assert found_in(tmp_path, model) == ["MergeV2Checkpoints", "SaveV2"]


def test_other_operations_in_the_savers_functions_are_found(tmp_path):
    functions = {"f_save": [*SAVING, ("WriteFile", "")], "f_restore": [("RestoreV2", "")]}
    assert found_in(tmp_path, graph_of(functions, **SAVER)) == ["WriteFile"]


def test_every_graph_is_looked_at(tmp_path):
    model = graph_of({})
    model.meta_graphs.extend(graph_of({"f": [("PyFunc", "")]}).meta_graphs)
    assert found_in(tmp_path, model) == ["PyFunc"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no graph"),
        (b"\x12\x7f", "is damaged or not a SavedModel"),
        (b"<html>", "is damaged or not a SavedModel"),
    ],
)
def test_files_that_are_no_saved_model(tmp_path, content, words):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(SavedModelError, match=words):
        operations_beyond_computing(tmp_path)


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_a_second_form_that_tensorflow_would_load_instead_is_refused(tmp_path, name):
    (tmp_path / "saved_model.pb").write_bytes(ONE_EMPTY_GRAPH)
    (tmp_path / name).touch()
    with pytest.raises(SavedModelError, match=name):
        operations_beyond_computing(tmp_path)


# Operations of which an argument sounds like a file, a host or a program, and which reach none of these.
HARMLESS = re.compile(
    r"Boosted.*|CTCBeamSearchDecoder|Collective.*|.*TPU.*|ConvertToListOf.*|Cudnn.*|Parse.*SequenceExample.*|Xla.*Sharding|"
    r"ShardedFile(name|spec)|MultiDeviceIteratorGetNextFromShard|AutoShardDataset|ShardDataset|VarHandleOp|"
    r"UpdateTaskIdAndGlobalCoreArray|Xla.*(sorted_token)?.*Csr.*|XlaSparseDense.*|XlaSpmd.*|_.*Mkl.*|_.*Conv2D|_QuantizedMatMul|"
    r"_XlaAotOnlyVarHandleOp|TensorSliceDataset|(Experimental)?SetStatsAggregatorDataset|DebugNumericSummaryV2|DebugIdentityV2"
)
SUSPICIOUS = re.compile(r"file|path|address|url|_uri|director|prefix|host|memory_region|protocol|descriptor_")
# Of these the name alone says it.
KNOWN = (
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "RemoteCall"),
    *(
        "RpcServer",
        "RpcClient",
        "DataServiceDatasetV4",
        "TextLineReaderV2",
        "WholeFileReader",
        "SqlDataset",
        "LMDBReader",
    ),
    *("ExperimentalSqlDataset", "ExperimentalLMDBDataset", "DatasetFromGraph", "XlaCallModule", "XlaCustomCallV2"),
    *("SaveV2", "RestoreV2", "Save", "Restore", "SaveSlices", "CacheDatasetV2", "SnapshotDatasetV2", "CopyHost"),
    *("DebugIdentityV3", "CreateSummaryDbWriter", "InitializeTableFromTextFileV2", "ImmutableConst", "XlaHostCompute"),
)


def test_tensorflows_operations_that_sound_like_files_hosts_or_programs_are_on_the_list():
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    registered = op_def_pb2.OpList.FromString(
        bytes(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    )
    names = {op.name for op in registered.op}
    assert len(names) > 1500
    assert [name for name in KNOWN if not reaches_beyond(name)] == []
    suspicious = {
        op.name
        for op in registered.op
        for argument in (*op.input_arg, *op.attr)
        if SUSPICIOUS.search(argument.name) and not HARMLESS.fullmatch(op.name)
    }
    assert len(suspicious) > 35
    assert {name for name in suspicious if not reaches_beyond(name)} == set()
    # What a network computes with is not on it.
    found = {name for name in names if reaches_beyond(name)}
    assert not found & {
        "Conv2D",
        "CropAndResize",
        "NonMaxSuppressionV5",
        "DecodeImage",
        "ParseExampleV2",
        "While",
        "Assert",
    }
    assert len(found) < 150
    assert saved_model_operations.SAVED_MODEL == "saved_model.pb"
