import json
import os
import subprocess

import pytest

from official.benchmark import peers
from official.utils.errors import UserError


def test_finds_a_peer():
    peer = peers.find("mnist", "torch")
    assert all("==" in requirement for requirement in peer.requirements)
    assert os.path.isfile(peer.program)


def test_names_the_peers_that_there_are():
    with pytest.raises(UserError, match=r"^--peers=jax: mnist has only torch$"):
        peers.find("mnist", "jax")
    with pytest.raises(UserError, match=r"^--peers=torch: r1 has no peers; leave"):
        peers.find("r1", "torch")


def test_an_environment_is_made_once(tmp_path, capsys):
    peer = peers.Peer((), "program.py")
    python = peers.interpreter(peer, str(tmp_path))
    assert "making the environment" in capsys.readouterr().out
    code = "import sys; print(sys.prefix); import absl"
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True)
    # Its own, where the packages of this one are not found.
    assert ran.stdout.strip() == str(tmp_path / os.listdir(tmp_path)[0])
    assert "ModuleNotFoundError" in ran.stderr
    assert peers.interpreter(peer, str(tmp_path)) == python
    assert capsys.readouterr().out == ""
    assert len(os.listdir(tmp_path)) == 1


@pytest.fixture
def no_work(monkeypatch):
    """Environments without a Python, for tests of the folders."""
    made = []

    def install(peer, folder):
        made.append(peer.requirements)
        os.makedirs(os.path.join(folder, "bin"))

    monkeypatch.setattr(peers, "_install", install)
    return made


def test_each_set_of_requirements_has_its_own(tmp_path, no_work, monkeypatch):
    one, other = peers.Peer(("a==1",), "p"), peers.Peer(("a==2",), "p")
    first = peers.interpreter(one, str(tmp_path))
    assert peers.interpreter(other, str(tmp_path)) != first
    assert peers.interpreter(one, str(tmp_path)) == first
    assert no_work == [("a==1",), ("a==2",)]
    monkeypatch.setattr(peers.platform, "python_version", lambda: "3.99.0")
    assert peers.interpreter(one, str(tmp_path)) != first
    (folder, *_) = os.listdir(tmp_path)
    marker = json.loads((tmp_path / folder / "complete.json").read_text())
    assert marker["made_of"][0] in ("a==1", "a==2")


def test_one_that_is_not_complete_is_not_used(tmp_path, no_work):
    peer = peers.Peer(("a==1",), "p")
    python = peers.interpreter(peer, str(tmp_path))
    (folder,) = tmp_path.iterdir()
    (folder / "complete.json").unlink()
    with pytest.raises(UserError, match=f"{folder} is in the way .*; remove it"):
        peers.interpreter(peer, str(tmp_path))
    assert list(tmp_path.iterdir()) == [folder]
    assert python.startswith(str(folder))


def test_one_that_another_process_made_meanwhile_is_used(
    tmp_path, no_work, monkeypatch
):
    peer = peers.Peer(("a==1",), "p")
    install = peers._install

    def slowly(peer, folder):
        monkeypatch.setattr(peers, "_install", install)
        peers.interpreter(peer, str(tmp_path))
        install(peer, folder)

    monkeypatch.setattr(peers, "_install", slowly)
    python = peers.interpreter(peer, str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert python == str(folder / "bin" / "python")
    assert len(no_work) == 2


def test_pip_that_fails_is_one_line_and_leaves_nothing(tmp_path):
    requirement = str(tmp_path / "no_package")
    peer = peers.Peer((requirement,), "program.py")
    cache = tmp_path / "cache"
    with pytest.raises(UserError) as raised:
        peers.interpreter(peer, str(cache))
    message = str(raised.value)
    assert message.startswith(f"pip install {requirement} failed (ERROR: ")
    assert message.endswith("leave --peers out")
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written.*XDG_CACHE_HOME"):
        peers.interpreter(peers.Peer((), "p"), str(tmp_path / "file"))
