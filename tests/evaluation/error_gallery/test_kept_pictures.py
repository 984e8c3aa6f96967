from tfod_csf.evaluation.error_gallery.kept_pictures import KeptPictures


def test_the_highest_ranks_are_kept_and_of_equal_ones_the_earlier():
    kept, made = KeptPictures(2), []

    def add(kind, rank, name):
        kept.add(kind, rank, lambda: made.append(name) or name)

    for rank, name in ((0.5, "a"), (0.9, "b"), (0.5, "c"), (0.7, "d"), (0.1, "e")):
        add("x", rank, name)
    add("y", -1, "f")
    assert kept.of("x") == ["b", "d"]
    assert kept.of("x", 1) == ["b"]
    assert kept.of("y") == ["f"]
    assert kept.of("z") == []
    assert made == ["a", "b", "d", "f"]  # the others were never among the best two
