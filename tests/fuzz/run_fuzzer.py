"""Fuzzes one reader, guided by coverage (atheris): python -m tests.fuzz.run_fuzzer TARGET SECONDS FOLDER

The corpus grows in FOLDER/corpus; an input that fails or takes too long is written to FOLDER as crash-* or timeout-*;
FOLDER/counts.json says how many inputs were run and how many got past the reader's first check. Copy an input that
failed to tests/fuzz/findings/TARGET-what.bin: it is run from then on without atheris.
"""

import json
import pathlib
import resource
import sys

import atheris

with atheris.instrument_imports(include=["tfod_csf", "google.protobuf.text_format"]):
    from tests.fuzz import seeds, targets


def main() -> None:
    """Runs until the time is over or an input fails."""
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds.seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    counts = {"executions": 0, "past_first_check": 0}

    def one_input(data: bytes) -> None:
        counts["executions"] += 1
        counts["past_first_check"] += targets.run(name, data)
        if counts["executions"] % 100 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
            (folder / "counts.json").write_text(json.dumps({**counts, "peak_mb": peak}))

    options = [
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
        f"-max_total_time={seconds}",
        f"-timeout={targets.MAX_SECONDS}",
        "-rss_limit_mb=3000",
        "-max_len=8192",
    ]
    atheris.Setup(
        [sys.argv[0], *options, "-print_final_stats=1", f"-artifact_prefix={folder}/", str(corpus)], one_input
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
