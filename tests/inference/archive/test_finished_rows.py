from tfod_csf.inference.archive.finished_rows import FinishedRows, RowWriter


def test_rows_of_several_processes_are_read_as_they_come(tmp_path):
    rows = FinishedRows(tmp_path)
    rows.update()
    assert rows.done_before == {}
    first, second = RowWriter(tmp_path), RowWriter(tmp_path)
    first.add("王%2F1", False)
    second.add("b", True)
    rows.update()
    assert rows.done_before == {"王%2F1": False, "b": True}
    first.add("c", False)
    rows.update()
    assert rows.done_before == {"王%2F1": False, "b": True, "c": False}


def test_of_a_patient_that_was_sent_out_twice_the_first_row_counts(tmp_path):
    rows, writer = FinishedRows(tmp_path), RowWriter(tmp_path)
    writer.add("a", False)
    rows.update()
    RowWriter(tmp_path).add("a", True)
    rows.update()
    assert rows.done_before == {"a": False}


def test_half_a_row_waits_for_its_end(tmp_path):
    rows = FinishedRows(tmp_path)
    path = tmp_path / "host-1-aa.jsonl"
    path.write_bytes(b'["a", false]\n["b", fa')
    rows.update()
    assert rows.done_before == {"a": False}
    path.write_bytes(b'["a", false]\n["b", false]\n')
    rows.update()
    assert rows.done_before == {"a": False, "b": False}
