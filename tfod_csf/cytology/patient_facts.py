"""What the laboratory knows of a patient beside the pictures: sample, date of puncture, operator, and cell counts.

The table of patients (--patient_table, `input_patient_table` in docs/OUTPUTS.md) holds one row per patient.
"""

import dataclasses
import datetime
import os
import re
from collections.abc import Collection, Mapping

from tfod_csf.files import csv_schemas
from tfod_csf.files.csv_tables import TableError
from tfod_csf.study import patient_ids
from tfod_csf.study.patient_ids import PatientIdError
from tfod_csf.wording import named, plural

# ISO 8601 with and without colons; minutes may lack in the zone and, with it, in the time of the day.
_TIME = re.compile(
    r"(?P<hour>\d\d)(:?(?P<minute>\d\d)(:?(?P<second>\d\d(\.\d+)?))?)?"
    r"(Z|(?P<zone_hour>[+-]\d\d)(:?(?P<zone_minute>\d\d))?)",
    re.ASCII,
)
EXPECTED_TIME = "a date as 2022-01-24, or a time with its zone as 2022-01-24T13:05+08:00"
_FARTHEST_ZONE = datetime.timedelta(hours=14)  # from UTC; FHIR allows no farther one


@dataclasses.dataclass(frozen=True)
class PatientFacts:
    """One row of the table of patients; what the table does not say is "" or None.

    Attributes:
      cells_per_ul: W, white cells per uL of CSF.
      sample_id: the laboratory's number of the sample.
      collected_at: date of the puncture, ISO 8601: a date, or a time with its zone.
      operator: who made the slide or took the pictures.
      csf_erythrocytes_per_ul: per uL of CSF.
      blood_white_cells_per_ul, blood_erythrocytes_per_ul: per uL of blood of the same day.
    """

    cells_per_ul: float | None = None
    sample_id: str = ""
    collected_at: str = ""
    operator: str = ""
    csf_erythrocytes_per_ul: float | None = None
    blood_white_cells_per_ul: float | None = None
    blood_erythrocytes_per_ul: float | None = None

    @property
    def white_cells_from_blood_per_ul(self) -> float | None:
        """White cells per uL of CSF that came with the blood; None where one of the three counts is missing.

        CSF erythrocytes x blood white cells / blood erythrocytes (Mayefsky and Roghmann, Am J Med 1987;82:1175-1181).
        They found fewer white cells than this in 38 % of the patients without meningitis and call a mechanical use of
        the formula not justified: it tells what blood may have brought, not what the fluid would have had without it.
        """
        counts = (self.csf_erythrocytes_per_ul, self.blood_white_cells_per_ul, self.blood_erythrocytes_per_ul)
        in_csf, blood_white, blood_red = counts
        if in_csf is None or blood_white is None or blood_red is None:
            return None
        return in_csf * blood_white / blood_red

    @property
    def corrected_cells_per_ul(self) -> float | None:
        """White cells per uL without those that came with the blood, never below 0; None where it cannot be said.

        >>> facts = PatientFacts(180, "", "", "", 100_000, 4_500, 4_600_000)
        >>> round(facts.white_cells_from_blood_per_ul, 1), round(facts.corrected_cells_per_ul, 1)
        (97.8, 82.2)
        """
        from_blood = self.white_cells_from_blood_per_ul
        if self.cells_per_ul is None or from_blood is None:
            return None
        return max(self.cells_per_ul - from_blood, 0.0)


def read_patient_table(path: str | os.PathLike) -> dict[str, PatientFacts]:
    """{patient_id: facts} of a table of patients.

    Raises:
      TableError: a repeated patient, a value that its column does not allow, or a date that is not ISO 8601.
    """
    found: dict[str, PatientFacts] = {}
    names = [field.name for field in dataclasses.fields(PatientFacts)]
    for row in csv_schemas.load("input_patient_table").read(path):
        patient = row["patient_id"]
        if patient in found:
            raise TableError(f"{path}, line {row.line}: patient {patient!r} is there twice; keep one row.")
        values = {name: row[name] for name in names if name in row}
        for name in ("sample_id", "collected_at", "operator"):
            values[name] = " ".join(values.get(name, "").split())
        if values["collected_at"] and full_time(values["collected_at"]) is None:
            raise TableError(
                f"{path}, line {row.line}: collected_at is {values['collected_at']!r}; expected {EXPECTED_TIME}."
            )
        found[patient] = PatientFacts(**values)
    return found


def full_time(text: str) -> str | None:
    """A date, or a date and time with zone, of ISO 8601 as FHIR and other programs want it; None where it is neither.

    A time gets its seconds and a zone of hours and minutes.

    >>> [full_time(text) for text in ("2022-01-24", "2022-01-24T13:05+0800", "24.01.2022", "2022-02-30")]
    ['2022-01-24', '2022-01-24T13:05:00+08:00', None, None]
    """
    day, separator, time = text.partition("T")
    found = _TIME.fullmatch(time)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII) or bool(separator) != bool(found):
        return None
    try:
        if found is None:
            return datetime.date.fromisoformat(day).isoformat()
        part = found.groupdict("00")
        zone = "Z" if found["zone_hour"] is None else f"{part['zone_hour']}:{part['zone_minute']}"
        whole = f"{day}T{part['hour']}:{part['minute']}:{part['second'][:2]}"
        of_zone = datetime.datetime.fromisoformat(whole + zone.replace("Z", "+00:00")).utcoffset()
    except ValueError:
        return None
    if of_zone is None or abs(of_zone) > _FARTHEST_ZONE or int(part["zone_minute"]) > 59:
        return None
    return f"{day}T{part['hour']}:{part['minute']}:{part['second']}{zone}"


def of_run(
    path: str | os.PathLike, facts: Mapping[str, PatientFacts], patients: Collection[str]
) -> tuple[dict[str, PatientFacts], str]:
    """The rows of the table that are about patients of the run, and what is said about the others.

    Args:
      path: of the table.
      facts: of `read_patient_table`.
      patients: ids of the run's patients.

    Returns:
      ({id of the run: facts}, sentences on rows about nobody of the run and on patients without a row; "" for none).

    Raises:
      TableError: no row at all is about a patient of the run: the wrong table, or ids written differently.
      PatientIdError: two rows are about one patient.
    """
    try:
        matched = patient_ids.match(facts, patients)
    except PatientIdError as error:
        raise TableError(f"{path}: {error}") from error
    if facts and not matched.run_ids:
        raise TableError(
            f"{path}: no patient in it ({named(matched.only_given)}) is in the run, which has "
            f"{named(matched.only_known)}; write patient_id as in differentials.csv{matched.hint}."
        )
    said = []
    if matched.only_given:
        whose = f"{len(matched.only_given)} of {plural(len(facts), 'patient')}"
        said.append(f"{path}: {whose} not in the run and not used ({named(matched.only_given)}){matched.hint}.")
    if matched.only_known:
        whose = f"{len(matched.only_known)} of {plural(len(patients), 'patient')}"
        said.append(f"{path}: no row for {whose} of the run ({named(matched.only_known)}).")
    return {run_id: facts[name] for name, run_id in matched.run_ids.items()}, "\n".join(said)
