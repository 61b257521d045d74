import os
import sys

import pytest

from official.benchmark import machines
from official.utils.errors import UserError
from official.utils.logs import console


def test_the_machine_is_named_by_what_matters_for_speed(monkeypatch):
    machines.machine.cache_clear()
    here = machines.machine()
    assert f"{os.cpu_count()} x " in here.text and "GiB" in here.text
    assert len(here.id) == 10
    monkeypatch.setattr(machines, "_gpus", lambda: ["NVIDIA H100, 81559 MiB"])
    machines.machine.cache_clear()
    with_gpu = machines.machine()
    assert "NVIDIA H100" in with_gpu.text and with_gpu.id != here.id
    monkeypatch.undo()
    machines.machine.cache_clear()
    assert machines.machine() == here


def test_gpus_are_those_of_the_driver(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A100, 40960 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machines._gpus() == ["NVIDIA A100, 40960 MiB"]
    tool.write_text("#!/bin/sh\necho 'no driver'; exit 9\n")
    assert machines._gpus() == []


def test_a_build_is_its_versions():
    build = machines.probe(sys.executable, "--python")
    assert build.versions["tensorflow"] and build.versions["keras"]
    assert build.text.startswith(f"tensorflow {build.versions['tensorflow']}, keras ")
    with pytest.raises(UserError, match="--x=/no/python is no program"):
        machines.probe("/no/python", "--x")


def test_the_commit_says_whether_files_differ(monkeypatch):
    answers = {"rev-parse": "0123456789", "status": ""}
    monkeypatch.setattr(machines, "_git", lambda verb, *rest: answers[verb])
    assert machines.commit() == "0123456789"
    answers["status"] = " M official/cli.py"
    assert machines.commit() == "0123456789+"
    answers["rev-parse"] = None
    assert machines.commit() is None


def test_a_busy_machine_is_warned_of(monkeypatch, capsys):
    for part, warns in ((0.1, False), (0.5, True)):
        console.reset_warnings()
        monkeypatch.setattr(machines, "busy", lambda part=part: part)
        machines.warn_if_busy()
        assert ("takes 50% of this machine's cores" in capsys.readouterr().err) == warns


def test_runs_find_this_project_first(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = machines.environment()
    assert found["PYTHONPATH"] == f"{machines.PROJECT_ROOT}{os.pathsep}/elsewhere"
