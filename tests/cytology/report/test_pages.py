"""The pages as files: what is in them, what is escaped, what stays; test_pages_in_browser.py opens them."""

import itertools
import re
import shutil
from urllib.parse import unquote

import pytest
from lxml import html

from tests.support.examined_study import record_tables
from tests.support.report_pages import facts_of, page, text_of, write
from tfod_csf import run_folder
from tfod_csf.commands import command_line
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.report import cohort_page, pages


def test_pages_of_all_patients_and_the_cohort(synthetic, synthetic_run):
    summary, folder = synthetic
    assert summary.cohort_page == folder / "report.html"
    assert len(summary.patient_pages) == len(run_tables.patient_folders(synthetic_run)) == 3
    links = html.parse(str(folder / "report.html")).getroot().xpath("//table[@id='cohort']//a/@href")
    assert len(links) == 3
    assert all((folder / unquote(link)).is_file() for link in links)


def test_patient_page_holds_everything_a_reader_needs(synthetic, synthetic_run):
    _, folder = synthetic
    text = text_of(page(folder))
    for part in (
        "Research software, not a medical device. A person has to look at the slide.",
        "Blasts and tumor cells.",
        "Before you rely on it",
        "95 % interval",
        "Were enough cells counted?",
        "from a score of 0.5 on",
        "below a score of 0.8",
        "fingerprint",
        "LHSC Laboratory Test Information Guide",
        "No image failed.",
        "Made with tfod_csf",
        "on 2022-01-24",
    ):
        assert part in text
    root = html.parse(str(page(folder))).getroot()
    patient = run_tables.read_patient(synthetic_run / "patients" / "patient_002")
    counts = patient.counts_by_model()["known_truth"]
    rows = {row[0].text_content(): row[1].text_content() for row in root.xpath("//table[contains(@class, 'diff')]//tr")}
    assert rows["neutrophil"] == str(counts["neutrophil"])
    assert rows["unknown"] == str(counts["unknown"])
    assert next(h.text_content().split()[0] for h in root.xpath("//section[@class='group']//h3")) == "unknown,"


def test_pages_name_no_other_file_and_every_picture_has_words(synthetic):
    summary, _ = synthetic
    for path in summary.pages:
        root = html.parse(str(path)).getroot()
        outside = [a for a in root.xpath("//@src | //@srcset") if a and not a.startswith("data:image/jpeg;base64,")]
        assert outside == []
        assert root.xpath("//link/@href") == ["data:,"]
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", path.read_text(encoding="utf-8"))
        assert not root.xpath("//img[not(@alt)]")
        assert not root.xpath("//main//img[@alt='']")
        assert not root.xpath("//@style | //@onclick")
        identities = root.xpath("//@id")
        assert len(identities) == len(set(identities))
        for named in root.xpath("//@aria-labelledby"):
            assert set(named.split()) <= set(identities)
        for target in root.xpath("//a[starts-with(@href, '#')]/@href"):
            assert target[1:] in identities
        levels = [int(h.tag[1]) for h in root.xpath("//h1 | //h2 | //h3 | //h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_the_same_inputs_give_the_same_bytes(synthetic, synthetic_run, tmp_path):
    summary, folder = synthetic
    write(synthetic_run, tmp_path)
    for path in summary.pages:
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_markup_in_names_stays_text(odd):
    _, folder = odd
    for path in [folder / "report.html", *folder.glob("patients/*/report.html")]:
        root = html.parse(str(path)).getroot()
        assert len(root.xpath("//script")) == 1
        assert not root.xpath("//img[@src='x']")
        assert len(root.xpath("//style")) == 1
        assert not root.xpath("//b[text()!='1'] | //i")
    root = html.parse(str(page(folder, "markup"))).getroot()
    assert "onerror=alert(1)" in root.xpath("//h1")[0].text_content()
    assert root.xpath("//title")[0].text.startswith("</title><script>document.title='owned'")


def test_printed_title_cannot_leave_its_string(odd):
    _, folder = odd
    style = html.parse(str(page(folder, "markup"))).getroot().xpath("//style")[0].text
    assert r'@top-left { content: "Patient \3c \2f title\3e \3c script\3e document\2e title\3d \27 owned' in style


def test_invisible_characters_are_shown(odd):
    _, folder = odd
    assert "患者 王\\u202e=1" in text_of(page(folder, "chinese"))
    assert "\u202e" not in page(folder, "chinese").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("patient", "parts"),
    [
        ("chinese", ["No cell was found on 1 image.", "1 of 2 images could not be used", "bad_0.jpg", "truncated"]),
        ("failed", ["No image of this patient could be examined. There is no result.", "bad_2.jpg"]),
        (
            "few",
            [
                "Fewer than 30, so no percentages are given",
                "plasma cell<b>",
                "No: 4 white cells were counted, and percentages need at least 30.",
            ],
        ),
        ("models", ["means of 2 models", "Smallest and largest percentage of the models", "Cells of model m"]),
        ("unsure", ["318 unknown cells may be white, 100.0 % of the white cells, more than 10 %"]),
        ("red", ["high erythrocytes", "No: 0 white cells were counted"]),
        (
            "one",
            [
                "Clustering not known: the intervals take the cells as independent.",
                "the run does not say where its images are",
            ],
        ),
    ],
)
def test_what_is_missing_is_said(odd, patient, parts):
    _, folder = odd
    text = text_of(page(folder, patient))
    for part in parts:
        assert part in text


def test_without_an_image_no_number_is_shown(odd):
    _, folder = odd
    root = html.parse(str(page(folder, "failed"))).getroot()
    assert not root.xpath("//table[contains(@class, 'differential')]")
    assert not root.xpath("//section[@id='cells']")
    row = html.parse(str(folder / "report.html")).getroot().xpath("//tr[th[.='failed only']]")[0]
    assert [cell.text_content() for cell in row][1:9] == ["–"] * 8
    assert row.get("data-f") == "efpr"


def test_image_failures_stand_on_both_pages(synthetic):
    _, folder = synthetic
    broken = next(path for path in (folder / "patients").iterdir() if path.name.startswith("王"))
    for path in (broken / "report.html", folder / "report.html"):
        assert "the content is not an image that can be read" in text_of(path)


def test_limits_of_a_page(synthetic_run, tmp_path):
    summary = write(
        synthetic_run, tmp_path, max_cells_per_class=2, max_fields=1, patients=("patient_002",), cohort_page=True
    )
    assert summary.cohort_page is None
    assert summary.pages == [page(tmp_path)]
    text = text_of(page(tmp_path))
    assert "the 2 with the lowest scores are shown" in text
    assert "1 of 6 fields" in text
    assert not html.parse(str(page(tmp_path))).getroot().xpath("//a[.='All patients']")
    write(synthetic_run, tmp_path, max_fields=0, patients=("patient_002",))
    assert "(--max_fields=0)" in text_of(page(tmp_path))


def test_cohort_alone_links_only_pages_that_are_there(synthetic_run, tmp_path):
    write(synthetic_run, tmp_path, patients=("patient_001",))
    write(synthetic_run, tmp_path, patient_pages=False)
    links = html.parse(str(tmp_path / "report.html")).getroot().xpath("//table[@id='cohort']//a/@href")
    assert links == ["patients/patient_001/report.html"]


def test_other_thresholds_are_said(synthetic_run, tmp_path):
    thresholds = run_tables.Thresholds(0.5, 0.97, "as_predicted")
    write(synthetic_run, tmp_path, thresholds, patients=("patient_002",))
    text = text_of(page(tmp_path))
    assert "below a score of 0.97 but counted under its predicted class" in text
    assert "boxes of the labeled fields were drawn again" in text
    assert "Letters: ? unknown, " in text


def test_unknown_patient_or_model_is_named(synthetic_run, tmp_path):
    with pytest.raises(run_tables.TableError, match="no patient 'nobody'"):
        write(synthetic_run, tmp_path, patients=("nobody",))
    with pytest.raises(run_tables.TableError, match="no cells of model 'x'; it has known_truth"):
        write(synthetic_run, tmp_path, model="x")


def test_a_mistyped_model_is_one_sentence(synthetic_run, tmp_path, capsys):
    flags = [f"--inference_dir={synthetic_run}", f"--output_dir={tmp_path / 'out'}", "--model=x"]
    assert command_line.main(["report", *flags]) == 1
    assert "no cells of model 'x'; it has known_truth: give one of these with --model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command(synthetic_run, tmp_path, capsys, monkeypatch):
    flags = ["report", f"--inference_dir={synthetic_run}", f"--output_dir={tmp_path}", "--replicates=100"]
    assert command_line.main([*flags, "--population=neonate", "--patient=patient_002"]) == 0, capsys.readouterr().err
    assert f"1 page written; open {page(tmp_path)} in a browser." in capsys.readouterr().out
    assert "neonate" in text_of(page(tmp_path))
    assert command_line.main([*flags, f"--images_dir={tmp_path / 'none'}"]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert command_line.main([*flags, f"--images_dir={tmp_path}", "--pages=patients"]) == 0
    assert "2 patients without pictures of cells" in capsys.readouterr().out
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tfod_csf.cytology.report.chromium.PLACES", ())
    assert command_line.main([*flags, "--pdf"]) == 1
    assert "--pdf needs Chromium" in capsys.readouterr().err


ODD_IDS = {
    "template": "{{ 7 * 7 }}{% raw %}",
    "css": "*/ } body { display: none } /* \\27",
    "long": "x" * 600,
    "na": "NA",
    "arabic": "مريض ١ (2)",
    "emoji": "🧪-0️⃣1",
    "lines": "a\nb\tc",
    "formula": "=HYPERLINK(0)",
    "percent": "100%20 %s #1?x&amp;",
}


@pytest.fixture(scope="module")
def odd_ids(tmp_path_factory, write_patient, write_run):
    """Nobody has enough cells, everybody an odd id, one has 600 failed images and images with odd names."""
    root = tmp_path_factory.mktemp("odd_ids")
    write_run(root / "run", models=[{"name": None}, {}], versions=None, settings={"images_dir": "\0 nowhere"})
    for folder, patient_id in ODD_IDS.items():
        failed = 600 if folder == "long" else 0
        write_patient(root / "run" / "patients" / folder, patient_id, [{"lymphocyte": 2}], failed=failed)
    write(root / "run", root / "report")
    return root


def test_odd_ids_stand_as_they_are(odd_ids):
    root = html.parse(str(odd_ids / "report" / "report.html")).getroot()
    shown = {" ".join(th.text_content().split()) for th in root.xpath("//table[@id='cohort']/tbody/tr/th")}
    wanted = {**ODD_IDS, "lines": "a\\nb\\tc", "emoji": ODD_IDS["emoji"]}
    assert shown == {" ".join(text.split()) for text in wanted.values()}
    for folder, patient_id in wanted.items():
        heading = html.parse(str(page(odd_ids / "report", folder))).getroot().xpath("//h1")[0].text_content()
        assert heading == patient_id


def test_cohort_without_percentages_and_with_many_failures(odd_ids):
    text = text_of(odd_ids / "report" / "report.html")
    assert "Patients in steps of ten points" not in text
    assert "The first 500 of 600 images that could not be used" in text
    assert "of 9; the others have fewer than 30 white cells" in text


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("run.json", "{", "not JSON"),
        ("run.json", "{}", "is not finished"),
        ("patients/few/cells.csv", "patient_id\n", "column 'image' is missing"),
        ("patients/few/images.csv", "", "the file is empty"),
    ],
)
def test_damaged_tables_are_one_sentence(odd_run, tmp_path, capsys, file, content, part):
    shutil.copytree(odd_run, tmp_path / "run")
    (tmp_path / "run" / file).write_text(content, encoding="utf-8")
    if file != "run.json":
        record_tables(tmp_path / "run")
    flags = [f"--inference_dir={tmp_path / 'run'}", "--pages=patients", "--patient=few", "--replicates=100"]
    assert command_line.main(["report", *flags]) == 1
    said = capsys.readouterr().err
    assert part in said
    assert file.rpartition("/")[2] in said
    assert "Traceback" not in said


def test_stopped_and_resumed_or_on_two_processes_the_pages_are_the_same(
    synthetic, synthetic_run, tmp_path, monkeypatch
):
    def files_in(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    made, patient_html = [], pages.patient_html

    def stop_at_the_second(page, facts):
        made.append(page.patient.patient_id)
        if len(made) == 2:
            raise KeyboardInterrupt
        return patient_html(page, facts)

    out = tmp_path / "out"
    monkeypatch.setattr(pages, "patient_html", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write(synthetic_run, out)
    assert not (out / "report.html").exists()
    write(synthetic_run, out)
    assert made == ["patient_001", "patient_002", "patient_002", made[3]]
    assert files_in(out) == files_in(synthetic[1])
    monkeypatch.undo()
    monkeypatch.setattr(pages._Pages, "least_for_a_process", 1)
    facts = facts_of(run_folder.read_run(synthetic_run), run_tables.new_thresholds(synthetic_run)[0])
    pages.write_report(synthetic_run, tmp_path / "two", facts, num_processes=2)
    assert files_in(tmp_path / "two") == files_in(synthetic[1])


def test_a_page_whose_fields_could_not_be_shown_is_made_again_when_resumed(synthetic_run, tmp_path, monkeypatch):
    made, patient_html = [], pages.patient_html

    def stop_at_the_second(page, facts):
        made.append(page.patient.patient_id)
        if len(made) == 2:
            raise KeyboardInterrupt
        return patient_html(page, facts)

    monkeypatch.setattr(pages, "patient_html", stop_at_the_second)
    monkeypatch.setattr(pages.labeled_fields, "field_pictures", lambda *arguments: ([], 0))
    with pytest.raises(KeyboardInterrupt):
        write(synthetic_run, tmp_path)
    write(synthetic_run, tmp_path)
    assert made[:3] == ["patient_001", "patient_002", "patient_001"]


def test_pages_of_some_patients_go_when_a_patient_changes_or_they_are_fewer(synthetic_run, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_page, "MAX_ROWS", 1)
    monkeypatch.setattr(cohort_page, "ROWS_PER_PAGE", 2)
    summary = write(synthetic_run, tmp_path, patient_pages=False)
    parts = [tmp_path / "report_pages" / f"000{number}.html" for number in (1, 2)]
    assert summary.pages == [tmp_path / "report.html", *parts]
    (tmp_path / "report_pages" / "0007.html").write_text("somebody's", encoding="utf-8")
    run_folder.remove_pages(tmp_path / "patients" / "patient_001")
    assert [path.name for path in tmp_path.rglob("*.html")] == ["0007.html"]
    write(synthetic_run, tmp_path, patient_pages=False)
    monkeypatch.setattr(cohort_page, "MAX_ROWS", 10)
    write(synthetic_run, tmp_path, patient_pages=False)
    assert not any(path.exists() for path in parts)
