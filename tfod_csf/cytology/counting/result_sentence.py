"""The result in a sentence: the same one on the patient's page and in what the laboratory's system gets."""

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules, Share
from tfod_csf.wording import plural


def result_sentence(result: Differential, rules: DifferentialRules) -> str:
    """White cells, and whole percentages with their marks, the largest first; counts where percentages are not given.

    Args:
      rules: those the result was computed with.
    """
    if not result.images_used:
        return "No image of this patient could be examined. There is no result."
    if not result.all_cells:
        return f"No cell was found on {plural(result.images_used, 'image')}."
    where = f"{plural(result.white_cells, 'white cell')} on {plural(result.images_used, 'image')}"
    why_not = no_percentages(result, rules)
    if why_not:
        counts = ", ".join(plural(result.counts[name], name) for name in cell_classes.WHITE_CELLS)
        return f"{where}: {counts}. {why_not}, so no percentages are given."
    parts = [
        f"{name}s {share.percent:.0f}\u00a0%{f' ({plain_mark(share)})' if share.mark else ''}"
        for name, share in sorted(result.shares.items(), key=lambda item: -item[1].percent)
    ]
    return f"{where}: {', '.join(parts)}."


def no_percentages(result: Differential, rules: DifferentialRules) -> str:
    """Why a report gives no percentages, as a clause; "" where it gives them."""
    if not result.shares:
        return f"Fewer than {max(rules.min_white_cells, 1)}"
    if result.unknown_beyond_limit:
        return f"{result.unknown.white_percent:.0f}\u00a0% of the white cells are unknown"
    return ""


def plain_mark(share: Share) -> str:
    """The mark against the reference range in words: "high", "low, uncertain"; "" without one."""
    return share.mark if share.mark_certain or not share.mark else f"{share.mark}, uncertain"
