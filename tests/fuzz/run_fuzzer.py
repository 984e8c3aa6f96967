"""Fuzzes one reader, guided by coverage (atheris): python -m tests.fuzz.run_fuzzer TARGET SECONDS FOLDER

The corpus grows in FOLDER/corpus; an input that fails or takes too long is written to FOLDER as crash-* or timeout-*;
FOLDER/counts.json says how many inputs were run and how many got past the reader's first check. Copy an input that
failed to tests/fuzz/findings/TARGET-what.bin: it is run from then on without atheris.
"""

import json
import os
import pathlib
import sys

import atheris

with atheris.instrument_imports(include=["tfod_csf", "google.protobuf.text_format"]):
    from tests.fuzz import seeds, targets

MAX_RESIDENT_MB = 3000


def resident_mb() -> int:
    """Memory held now. (libFuzzer's own limit reads the peak, which starts at that of the parent process.)"""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


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
            (folder / "counts.json").write_text(json.dumps({**counts, "resident_mb": resident_mb()}))
            if resident_mb() > MAX_RESIDENT_MB:
                raise MemoryError(f"{resident_mb()} MB after {counts['executions']} inputs, at most {MAX_RESIDENT_MB}")

    options = [
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
        f"-max_total_time={seconds}",
        f"-timeout={targets.MAX_SECONDS}",
        "-rss_limit_mb=0",
        "-max_len=8192",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
