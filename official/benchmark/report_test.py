import base64
import html.parser
import json
import os
import random
import re
import subprocess
import sys

import pytest

from official.benchmark import charts, findings, gate, suites, verdicts
from official.benchmark import report as report_module
from official.benchmark.exchange import published, without_folders
from official.benchmark.history import History, new_record
from official.benchmark.markup import element, printable
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.recipes import Recipe

MACHINE = {"id": "m1", "text": "8 x Test CPU; 32 GiB; no GPU; Linux x86_64"}
NIGHTS = 25
LAST = f"night-{NIGHTS - 1:02}"
# Examples a second and the metric of each recipe; the last two come and go.
RECIPES = {
    "mnist/instant": (5200.0, "accuracy", 0.962),
    "mnist/digits": (6100.0, "accuracy", 0.988),
    "resnet/cifar10_quick": (412.0, "accuracy", 0.915),
    "transformer/quick": (2750.0, "bleu", 27.4),
    "bert/sst2_quick": (38.5, "accuracy", 0.902),
    "recommendation/ncf_quick": (91000.0, "hit_rate", 0.634),
    "wide_deep/quick": (15400.0, "auc", 0.897),
    "lstm/quick": (820.0, "perplexity", 92.0),
}
LOG = (
    "\x1b[31mRun\x1b[0m \x07begun in /data/home/user/run\r\n"
    'File "/opt/python3/lib/site-packages/keras/src/models.py", line 3\n'
    "<script>alert(1)</script>\x00\ud800 \U0001f600 &amp; </pre></details>\n"
    "ValueError: no | such <b>shape</b>\n"
)


def recipe(key, **flags):
    model, _, name = key.partition("/")
    _, metric, value = RECIPES[key]
    return Recipe(
        name=name,
        model=model,
        module=f"official.{model}.main",
        size="quick",
        flags={"dataset": "toy", **flags},
        bands={metric: (round(0.97 * value, 3), max(1.0, round(1.05 * value, 1)))},
        seeds=(0, 1, 2),
        cost=None,
        source="measured 0123abcd",
    )


def build(number):
    versions = {
        "python": "3.11.7",
        "tf-nightly": f"2.22.0.dev202611{number + 1:02}",
        "keras": "3.15.1" if number < NIGHTS - 1 else "3.16.0",
    }
    return {"text": f"tf-nightly {versions['tf-nightly']}", "versions": versions}


def when(number, hour=3):
    return f"2026-11-{number + 1:02}T{hour:02}:00:00.000000Z"


def run_record(key, number, seed, random_numbers, night=None, folder="/logs", **fields):
    """A run that went well, unless `fields` say otherwise."""
    speed, metric, value = RECIPES[key]

    def near(value, reach):
        return value * (1 + random_numbers.uniform(-reach, reach))

    if key == "resnet/cifar10_quick" and number == NIGHTS - 1:
        speed *= 0.84
    if key == "transformer/quick" and number == NIGHTS - 1:
        speed *= 1.12
    if key == "mnist/digits" and number >= 12:
        speed *= 0.88
    if key == "bert/sst2_quick" and number == NIGHTS - 1:
        value *= 0.95
    return (
        new_record(
            "run",
            night=night or f"night-{number:02}",
            job=key,
            seed=seed,
            machine=MACHINE,
            build=build(number),
            command=f"python -m official.{key} --seed={seed}",
            log=f"{folder}/{key.replace('/', '_')}-seed{seed}/log.txt",
            results={
                "metrics": {metric: near(value, 0.003), "loss": near(0.3, 0.05)},
                "examples_per_second": near(speed, 0.015),
                "startup_seconds": near(7.6, 0.03),
                "peak_memory_bytes": near(0.95 * 2**30, 0.01),
            },
            status="ok",
            detail="",
            seconds=20.0,
            log_tail="all is well\n",
        )
        | {"time": when(number)}
        | fields
    )


def crashed(record):
    left = {key: value for key, value in record.items() if key != "results"}
    return left | {
        "status": "crashed",
        "detail": "ValueError: no | such <b>shape</b> in /data/home/user/run",
        "log_tail": LOG,
    }


def comparison(number):
    shared = {
        "reasons": [],
        "cannot_run": False,
        "rounds": [],
        "first_losses": None,
        "drift": 1.2e-7,
        "saved_models": "equal / 3.1e-07",
        "startup": 1.02,
        "memory": 0.99,
    }

    def entry(key, median, reach, **fields):
        _, metric, value = RECIPES[key]
        return shared | {
            "verdict": "same",
            "speed": vars(
                verdicts.Ratio(median, median - reach, median + reach, rounds=5)
            ),
            "quality": {
                metric: {"baseline": value, "candidate": value, "difference": -0.002}
            },
            **fields,
        }

    broken = shared | {
        **dict(verdict="broken", speed=None, quality={}, startup=None, memory=None),
        **dict(drift=None, saved_models=None),
        "reasons": ["candidate crashed: ValueError: | in /data/home/user/run"],
    }
    return new_record(
        "comparison",
        night=f"comparison-{number:02}",
        suite="quick",
        seeds=3,
        machine=MACHINE,
        builds=[build(number - 1), build(number)],
        project="0123abcdef",
        jobs={
            "mnist/digits": entry("mnist/digits", 1.004, 0.012),
            "resnet/cifar10_quick": entry(
                "resnet/cifar10_quick",
                0.871,
                0.021,
                verdict="slower",
                reasons=["speed 0.871 (0.850 to 0.892)"],
            ),
            "transformer/quick": entry(
                "transformer/quick", 1.09, 0.03, verdict="faster"
            ),
            "recommendation/ncf_quick": broken,
        },
        verdict="regression",
    ) | {"time": when(number, hour=9)}


def synthetic_records(folder):
    """25 nights, an acceptance and two comparisons."""
    random_numbers = random.Random(0)
    acceptance = new_record(
        "acceptance",
        job="mnist/digits",
        machine=MACHINE,
        reason="new kernel, agreed in #12",
    ) | {"time": when(12, hour=8)}
    nights, runs = [], []
    for number in range(NIGHTS):
        keys = list(RECIPES)
        keys.remove("lstm/quick" if number == NIGHTS - 1 else "wide_deep/quick")
        night = new_record(
            "night",
            night=f"night-{number:02}",
            suite="quick",
            plan=[[key, seed] for seed in range(3) for key in keys],
            machine=MACHINE,
            build=build(number),
            project="0123abcdef",
        ) | {"time": when(number)}
        night["jobs"] = {}
        for key in keys:
            own = [
                run_record(key, number, seed, random_numbers, folder=folder)
                for seed in range(3)
            ]
            if key == "recommendation/ncf_quick" and number in (6, NIGHTS - 1):
                own = (
                    [own[0], *map(crashed, own[1:])]
                    if number > 6
                    else [crashed(each) for each in own]
                )
            old = key == "bert/sst2_quick" and number < 9
            job = suites.Job(key, recipe(key, batch_size=16 if old else 32))
            before = gate.comparable_nights(
                job, "m1", nights, [acceptance] if number > 12 else []
            )
            night["jobs"][key] = gate.judge_job(job, own, before)
            runs += own
        night["verdict"] = gate.judge_night(night["jobs"])
        night["new"], night["vanished"] = gate.changed_lineup(night, nights)
        nights.append(night)
    compared = [comparison(number) for number in (20, NIGHTS - 1)]
    failed = crashed(
        run_record(
            "recommendation/ncf_quick",
            NIGHTS - 1,
            0,
            random_numbers,
            night=compared[-1]["night"],
            folder=folder,
            side="candidate",
        )
    )
    return [*nights, *runs, acceptance, *compared, failed]


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    """The project knows the recipes of the tests, but for the one that vanished."""
    known = [recipe(key, batch_size=32) for key in RECIPES if key != "lstm/quick"]
    monkeypatch.setattr(suites, "find_recipes", lambda: {"toy": known})


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    log = folder / "recommendation_ncf_quick-seed1" / "log.txt"
    log.parent.mkdir()
    log.write_text("the whole log")
    return synthetic_records(str(folder))


@pytest.fixture
def history(tmp_path, records):
    history = History(str(tmp_path / "h.sqlite"))
    history.import_records(records)
    return history


def command(**flags):
    flag_values = report_module.define_flags()
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    return report_module.run(flags_core.parse(flag_values, arguments, ()))


class Page(html.parser.HTMLParser):
    """What a browser would make of the page: elements, and the text in each section."""

    VOID = ("meta", "wbr")

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.texts = {}
        self.rows = []
        self._open = []
        self._section = "head"
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag in ("header", "section"):
            self._section = dict(attributes).get("id", "header")
        if tag == "tr":
            self.rows.append("")
        if tag == "wbr":  # No space, just a place for a break.
            self.texts[self._section] = self.texts[self._section].removesuffix(" ")
            self.rows[-1:] = [row.removesuffix(" ") for row in self.rows[-1:]]

    def handle_endtag(self, tag):
        if tag not in self.VOID:  # Python 3.10 writes an end for `wbr`.
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in ("style", "title"):
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data
            return
        self.texts[self._section] = self.texts.get(self._section, "") + f"{data} "
        if "tr" in self._open:
            self.rows[-1] += f"{data} "

    def attributes(self, name):
        return [a[name] for _, a in self.elements if name in a]


def page(path):
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_says_what_is_not_good_first(history, tmp_path):
    output = tmp_path / "sub" / "report.html"
    assert command(history=history.path, output=output) == {"recipes": 7}
    found = page(output)
    header = found.texts["header"]
    assert "Regression in 3 of 7 recipes" in header
    assert "tf-nightly 2.22.0.dev20261125" in header
    assert "8 x Test CPU" in header and "2026-11-25 03:00 UTC" in header
    assert "0123abcdef" in header
    assert "Regression in 2 of 4 recipes" in header
    bad = found.texts["not-good"]
    assert re.search(r"slower\s+resnet/cifar10_quick\s+examples/s 34\d, limit", bad)
    assert re.search(r"broken\s+recommendation/ncf_quick\s+seed 1: crashed", bad)
    assert re.search(r"worse\s+bert/sst2_quick\s+seed 0: accuracy 0.8\d+ is out", bad)
    assert "new: wide_deep/quick" in bad and "vanished: lstm/quick" in bad
    assert "mnist" not in bad and "transformer" not in bad
    assert list(found.texts)[1:] == [
        *("title", "style", "header", "not-good", "recipes", "comparisons"),
        *("nights", "failed", "machine", "reading"),
    ]


def test_the_table_has_a_row_for_each_recipe(history, tmp_path):
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    rows = {row.split()[0]: row for row in page(output).rows[:8]}
    assert set(rows) == {"recipe", *RECIPES} - {"lstm/quick"}
    slow = rows["resnet/cifar10_quick"]
    assert re.search(r"slower +3/3 +accuracy 0.9\d+ \(0.888 to 1\)", slow)
    assert re.search(r"34\d \(-1\d%\)", slow)
    assert re.search(r"7.\d s \([-+]\d%\) +0.9\d GiB \([-+]\d%\)", slow)
    assert re.search(r"broken +1/3", rows["recommendation/ncf_quick"])
    assert re.search(r"faster .*\(\+1\d%\)", rows["transformer/quick"])
    assert re.search(r"good +3/3", rows["wide_deep/quick"])


def test_comparisons_show_their_intervals(history, tmp_path):
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    found = page(output)
    text = found.texts["comparisons"]
    assert text.index("2026-11-25 09:00") < text.index("2026-11-21 09:00")
    assert "candidate crashed: ValueError: | in .../run" in text
    rows = [row for row in found.rows if row.startswith("resnet")]
    assert "0.871 (0.850 to 0.892)" in rows[1]
    for phrase in ("1.02", "0.99", "1.2e-07", "equal / 3.1e-07", " 5 ", "(-0.002)"):
        assert phrase in rows[1]
    labels = found.attributes("aria-label")
    assert "ratio 0.871, interval 0.850 to 0.892" in labels


def test_plots_mark_regressions_gaps_and_acceptances(history, tmp_path):
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    text = output.read_text(encoding="utf-8")

    def plot(key, title):
        label = f'aria-label="{key}: {title} '
        (found,) = re.findall(f'<svg class="plot"[^>]*{label}.*?</svg>', text, re.S)
        return found

    slow = plot("resnet/cifar10_quick", "examples/s")
    assert slow.count('class="alarm"') == 1
    assert slow.count('class="dot"') == NIGHTS - 1
    assert "tf-nightly 2.22.0.dev20261103" in slow
    assert ">2026-11-01<" in slow and ">2026-11-25<" in slow
    assert ">25 nights<" in slow and ">examples/s<" in slow
    broken = plot("recommendation/ncf_quick", "start-up")
    assert broken.count('class="cross"') == 1 and ">seconds<" in broken
    accepted = plot("mnist/digits", "examples/s")
    assert "new kernel, agreed in #12" in accepted
    assert accepted.count('class="alarm"') == 1
    assert "accepted" not in plot("mnist/instant", "examples/s")
    # The recipe was changed once, so its line is in two parts.
    assert plot("bert/sst2_quick", "memory").count("<polyline") == 2
    assert plot("bert/sst2_quick", "accuracy").count('class="alarm"') == 1
    assert ">GiB<" in plot("bert/sst2_quick", "memory")


def test_a_log_stays_text(history, tmp_path):
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    found = page(output)
    assert "script" not in {tag for tag, _ in found.elements}
    assert not [name for _, a in found.elements for name in a if name.startswith("on")]
    text = found.texts["failed"]
    assert "<script>alert(1)</script>\u2400\ufffd \U0001f600 &amp; </pre>" in text
    assert "Run \u2407begun in .../run\n" in text
    assert 'File ".../keras/src/models.py", line 3' in text
    assert text.count("recommendation/ncf_quick, seed") == 3
    assert "recommendation/ncf_quick, seed 0, candidate" in text
    assert "python -m official.recommendation/ncf_quick --seed=1" in text
    assert text.count("The whole log") == 1


def test_the_page_needs_nothing_else_and_names_no_folder(history, tmp_path, records):
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    text = output.read_text(encoding="utf-8")
    found = Page(text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in found.elements}
    assert not found.attributes("src")
    assert "@import" not in text and "url(" not in text and "http:" not in text
    targets = found.attributes("href")
    (log,) = (target for target in targets if not target.startswith("#"))
    assert (tmp_path / log).resolve().read_text() == "the whole log"
    assert str(tmp_path.parent) not in text and "/data/home" not in text
    # Every link within the page leads somewhere.
    assert {t[1:] for t in targets if t != log} <= set(found.attributes("id"))
    ids = found.attributes("id")
    assert len(ids) == len(set(ids))
    page_attributes = dict(found.elements)
    assert page_attributes["html"] == {"lang": "en"}
    assert found.texts["title"].startswith("Regression: tf-nightly")
    for tag, attributes in found.elements:
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "svg":
            hidden = attributes.get("aria-hidden") == "true"
            assert hidden or (attributes["role"] == "img" and attributes["aria-label"])


def test_another_night_can_be_named(history, tmp_path):
    output = tmp_path / "report.html"
    assert command(history=history.path, output=output, night="night-03") == {
        "recipes": 7
    }
    found = page(output)
    assert "Good: 7 recipes within bands and limits" in found.texts["header"]
    assert "2026-11-04" in found.texts["header"]
    assert "not-good" not in found.texts and "failed" in found.texts
    assert ">4 nights<" in output.read_text(encoding="utf-8")
    # A recipe that the project has no more is shown with the bands of that night.
    row = next(row for row in found.rows if row.startswith("lstm/quick"))
    assert re.search(r"good +3/3 +perplexity 9\d(\.\d+)? \(89.24 to 96.6\)", row)


def test_a_comparison_can_be_named(history, tmp_path):
    output = tmp_path / "report.html"
    flags = dict(history=history.path, output=output, night="comparison-20")
    assert command(**flags) == {"recipes": 4}
    found = page(output)
    assert "Regression in 2 of 4 recipes" in found.texts["header"]
    assert "recipes" not in found.texts
    assert "2026-11-25" not in output.read_text(encoding="utf-8")
    assert "baseline" in found.texts["machine"]


def test_a_night_that_was_cut_short_shows(history, tmp_path):
    random_numbers = random.Random(1)
    keys = ["mnist/instant", "resnet/cifar10_quick", "lstm/quick", "transformer/quick"]
    night = new_record(
        "night",
        night="night-25",
        suite="quick",
        plan=[[key, seed] for seed in range(2) for key in keys],
        machine=MACHINE,
        build=build(25),
        project=None,
    ) | {"time": when(25)}
    runs = [run_record(key, 25, 0, random_numbers) for key in keys[:3]]
    history.import_records([night, runs[0], crashed(runs[1]), runs[2]])
    output = tmp_path / "report.html"
    assert command(history=history.path, output=output) == {"recipes": 4}
    found = page(output)
    assert "Unfinished: 3 of 8 runs are done" in found.texts["header"]
    assert "unknown commit" in found.texts["header"]
    rows = {row.split()[0]: row for row in found.rows[:5]}
    assert re.search(r"good +1/1", rows["mnist/instant"])
    assert re.search(r"broken +0/1", rows["resnet/cifar10_quick"])
    assert re.search(r"not run +0/0", rows["transformer/quick"])
    # Without its recipe there is no verdict.
    assert re.search(r"not judged +1/1", rows["lstm/quick"])
    assert "resnet/cifar10_quick, seed 0" in found.texts["failed"]
    # Without any run, too.
    history.add(night | {"id": "other", "night": "night-26", "time": when(26)})
    command(history=history.path, output=output)
    assert "Unfinished: 0 of 8 runs are done" in page(output).texts["header"]


def test_accepted_after_the_night(history, tmp_path):
    acceptance = new_record(
        "acceptance", job="resnet/cifar10_quick", machine=MACHINE, reason="agreed"
    )
    history.add(acceptance | {"time": when(26)})
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    assert "accepted on 2026-11-27 03:00 UTC: agreed" in page(output).texts["not-good"]
    assert "accepted 2026-11-27" in output.read_text(encoding="utf-8")


def test_markdown(history, tmp_path, capsys):
    output = tmp_path / "report.html"
    command(history=history.path, output=output, markdown=tmp_path / "s.md")
    text = (tmp_path / "s.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "## TensorFlow build: Regression in 3 of 7 recipes"
    assert "- build: tf-nightly 2.22.0.dev20261125" in lines
    row = next(line for line in lines if line.startswith("| resnet/cifar10"))
    assert re.match(
        r"\| resnet/cifar10\\_quick \| slower \| 3/3 \| accuracy 0.9\d+ \(.*\) \| "
        r"34\d \(-1\d%\) \| ",
        row,
    )
    assert (
        "- recommendation/ncf\\_quick broken: seed 1: crashed: ValueError: no \\| such "
        "&lt;b&gt;shape&lt;/b&gt; in .../run"
    ) in lines
    assert "- new: wide\\_deep/quick" in lines and "- vanished: lstm/quick" in lines
    assert "### Last comparison: Regression in 2 of 4 recipes" in lines
    # Every row of a table has as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1
    capsys.readouterr()
    command(history=history.path, output=output, markdown="-")
    assert capsys.readouterr().out == text
    flags = dict(history=history.path, output=output, markdown="-")
    command(night="comparison-24", **flags)
    text = capsys.readouterr().out
    assert text.startswith("## TensorFlow build: Regression in 2 of 4 recipes\n")
    assert "- candidate: tf-nightly 2.22.0.dev20261125" in text
    assert "| resnet | cifar10\\_quick | slower | 0.871 (0.850 to 0.892) | 5 |" in text


def test_wrong_flags_are_one_line(history, tmp_path):
    output = tmp_path / "report.html"
    with pytest.raises(UserError, match=r"no such night .* night-23, night-24"):
        command(history=history.path, output=output, night="night-99")
    with pytest.raises(UserError, match="there is no such file"):
        command(history=tmp_path / "none", output=output)
    empty = History(str(tmp_path / "empty.sqlite"))
    with pytest.raises(UserError, match=r"no night .*benchmark.run` makes one"):
        command(history=empty.path, output=output)
    with pytest.raises(UserError, match="no report has written"):
        command(history=history.path, output=history.path)
    with pytest.raises(UserError, match="cannot be written"):
        command(history=history.path, output=tmp_path)
    with pytest.raises(UserError, match=r"--markdown=.* cannot be written"):
        command(history=history.path, output=output, markdown=f"{history.path}/s.md")
    # Nothing half-written is left, and the history is whole.
    assert sorted(os.listdir(tmp_path)) == ["empty.sqlite", "h.sqlite", "report.html"]
    assert len(History(history.path).records("night")) == NIGHTS


def test_records_that_were_published(tmp_path, records):
    history = History(str(tmp_path / "h.sqlite"))
    history.import_records(map(published, records))
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    text = page(output).texts["failed"]
    assert text.count("The log's file is not on this machine. (empty)") == 3


def test_only_comparisons(tmp_path, records):
    history = History(str(tmp_path / "h.sqlite"))
    history.import_records([r for r in records if r["kind"] == "comparison"])
    output = tmp_path / "report.html"
    assert command(history=history.path, output=output) == {"recipes": 4}
    assert "nights" not in page(output).texts


def test_headlines():
    def night(verdict, *found, **fields):
        jobs = {str(i): {"verdict": each} | fields for i, each in enumerate(found)}
        return {"verdict": verdict, "jobs": jobs, "kind": "night"}

    cases = {
        "Good: 1 recipe within bands and limits": night("good", "faster"),
        "Could not run: 1 of 2 recipes without a result": night(
            "could not run", "good", "skipped"
        ),
        "Could not run: 2 of 2 recipes without a result": night(
            "could not run", "broken", "broken", cannot_run=True
        ),
    }
    assert {findings.headline(record) for record in cases.values()} == set(cases)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in /data/user/run.txt, line 3", "in .../run.txt, line 3"),
        ("--model_dir=/data/user/run", "--model_dir=.../run"),
        ("/a/lib/python3/site-packages/keras/x.py", ".../keras/x.py"),
        ("/a/main/official/mnist/model.py:3", ".../official/mnist/model.py:3"),
        ("941 examples/second at https://a.org/b/c", None),
        ("/job:localhost/replica:0/device:CPU:0", None),
    ],
)
def test_folders_of_the_machine_are_cut(text, expected):
    assert without_folders(text) == (expected or text)


def test_characters_that_html_cannot_hold():
    assert printable(
        "a\x1b[1;31mb\x1b[0m\r\nc\rd\x00\x7f\x85\ud800\uffff\t\U0001f600"
    ) == ("ab\nc\nd\u2400\u2421\ufffd\ufffd\ufffd\t\U0001f600")
    made = element("p", "a", None, element("b", "b"), "c", "d", class_="x", data_a=1.0)
    assert (made.text, made[0].text, made[0].tail) == ("a", "b", "cd")
    assert made.attrib == {"class": "x", "data-a": "1.0"}


@pytest.mark.parametrize("values", [[0.0], [None, 5.0], [1e-9, 1e-9], [1e12, -1e12]])
def test_plots_take_any_values(values):
    points = [charts.Point("2026-11-01", value, "") for value in values]
    points.append(charts.Point("2026-11-02", None, "", 0.0, float("inf")))
    for made in (
        charts.history(points, [(1, "why")], "unit", "label"),
        charts.sparkline([*values, None], [False] * (len(values) + 1), "label"),
    ):
        for each in made.iter():
            for name in ("x", "y", "cx", "cy", "d", "points", "x1", "y1"):
                assert not re.search("nan|inf", each.get(name, ""))


def test_the_command(history, tmp_path):
    arguments = [f"--history={history.path}", f"--output={tmp_path / 'r.html'}"]
    module = [sys.executable, "-X", "importtime", "-m", "official.benchmark.report"]
    done = subprocess.run([*module, *arguments], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "Regression in 3 of 7 recipes"
    assert "| tensorflow\n" not in done.stderr and "matplotlib" not in done.stderr
    done = subprocess.run(
        [*module[:1], *module[3:], "--night=x", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert re.fullmatch("error: --night=x: .*\n", done.stderr)
    assert done.stdout == ""


# ---- The page in a browser ----

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
COLOURS = ("light", "dark")
WIDTHS = (1280, 360)


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium; skips where there is none, which fails with CI=true."""
    lacking = [path for path in (CHROMIUM, CHROMEDRIVER) if not os.path.exists(path)]
    if lacking:
        reason = f"no {' and no '.join(lacking)}; install chromium and chromium-driver"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic"),
        *("no-first-run", "disable-background-networking", "disable-sync"),
        *("disable-component-update", "disable-dev-shm-usage"),
        f"user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(f"--{argument}")
    logs = {"browser": "ALL", "performance": "ALL"}
    options.set_capability("goog:loggingPrefs", logs)
    # A path given, Selenium looks for no driver in the network.
    driver = webdriver.Chrome(options, Service(executable_path=CHROMEDRIVER))
    yield driver
    driver.quit()


def show(driver, width, colours):
    """Sets the width of the window and what the reader prefers."""
    size = dict(width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": colours}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


# The lowest contrast of a text with what lies behind it, as WCAG 2.1 has it, 1.4.3.
LOWEST_CONTRAST = """
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const luminance = colour => {
  const [r, g, b] = numbers(colour).map(part => {
    part /= 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = node => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (numbers(colour)[3] !== 0) return colour;
  }
};
let lowest = [99, ""];
for (const node of document.body.querySelectorAll("*")) {
  const own = [...node.childNodes].some(c => c.nodeType === 3 && c.data.trim());
  if (!own || node.tagName === "title") continue;
  const style = getComputedStyle(node);
  const colour = node.tagName === "text" ? style.fill : style.color;
  const [a, b] = [luminance(colour), luminance(behind(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < lowest[0]) lowest = [contrast, node.outerHTML.slice(0, 200)];
}
return lowest;
"""
# What reaches beyond the right edge, but for what scrolls in its own frame.
TOO_WIDE = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll("body *")].filter(node =>
  node.getBoundingClientRect().right > width + 1 &&
  !node.closest(".scroll table, pre, svg")).map(node => node.outerHTML.slice(0, 200));
"""
OPEN_ALL = "for (const d of document.querySelectorAll('details')) d.open = true"


def screenshot(driver, path):
    """Takes the whole page, with what lies below the window's end."""
    flags = {"format": "png", "captureBeyondViewport": True}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", flags)
    path.write_bytes(base64.b64decode(taken["data"]))


def test_in_a_browser(browser, history, tmp_path):
    output = tmp_path / "report.html"
    command(history=history.path, output=output)
    # What the browser's own first page asks for is no matter of the report's.
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(output.as_uri())
    run = browser.execute_script

    # The log's script is text, and no script was made of it or ran.
    log = run("return document.querySelector('#failed pre').textContent")
    assert "<script>alert(1)</script>" in log
    assert run("return document.scripts.length") == 0
    backgrounds = {}
    for colours in COLOURS:
        for width in WIDTHS:
            show(browser, width, colours)
            screenshot(browser, tmp_path / f"{colours}-{width}.png")
            style = "return getComputedStyle(document.body).backgroundColor"
            backgrounds[colours] = run(style)
    assert backgrounds["light"] != backgrounds["dark"]
    pictures = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert len(pictures) == 4
    assert all(p.startswith(b"\x89PNG") and len(p) > 20000 for p in pictures.values())

    run(OPEN_ALL)
    for width in WIDTHS:
        show(browser, width, "light")
        wide = "const e = document.documentElement; return e.scrollWidth - innerWidth"
        assert run(wide) <= 0
        assert run(TOO_WIDE) == []
        # The table itself is wider than a phone, and scrolls.
        table = "const t = document.querySelector('.scroll'); "
        assert run(f"{table} return t.scrollWidth > t.clientWidth") == (width < 600)
    for colours in COLOURS:
        show(browser, 1280, colours)
        contrast, where = run(LOWEST_CONTRAST)
        assert contrast >= 4.5, (colours, where)

    # An alert would be in the way of every further command.
    assert browser.title.startswith("Regression: ")
    said = [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    assert said == []
    events = [
        json.loads(each["message"])["message"]
        for each in browser.get_log("performance")
    ]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked == {output.as_uri()}
