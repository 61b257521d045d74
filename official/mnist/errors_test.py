"""What users get wrong: one line on stderr, exit code 1, and nothing lost."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from official.mnist import mnist, recipes
from official.utils.run_folder import RunFolder
from official.utils.testing import mains
from official.utils.testing.mains import assert_one_line_error
from official.utils.training import checkpoints

MODULE = "official.mnist.mnist"
BRIEF = ("--train_steps=3", "--batch_size=8")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Relative paths, runs/ among them, are below the test's own folder."""
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return mains.run_main(
        mnist.define_flags, mnist.run, recipes.RECIPES, [str(a) for a in arguments]
    )


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    outcome = run(*BRIEF, f"--model_dir={folder}")
    assert outcome.exit_code == 0, outcome
    return folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """A finished run of three steps, the test's own copy."""
    return pathlib.Path(shutil.copytree(trained_once, tmp_path / "trained"))


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# ---- Flags ----


@pytest.mark.parametrize(
    "arguments, fragments",
    [
        (["--dataset=cifar"], ["--dataset=cifar", "digits, mnist"]),
        (["--batch_size=-3"], ["--batch_size=-3", "positive integer"]),
        (["--batch_size=0"], ["--batch_size=0", "positive integer"]),
        (["--train_epochs=0"], ["--train_epochs=0", "positive integer"]),
        (["--stop_threshold=high"], ["--stop_threshold=high", "float"]),
        (["--stop_threshold=nan"], ["--stop_threshold=nan", "finite number"]),
        (["--learning_rate=nan"], ["--learning_rate=nan", "finite number"]),
        (["--learning_rate=inf"], ["--learning_rate=inf", "finite number"]),
        (["--learning_rate=-1"], ["--learning_rate=-1", "non-negative"]),
        (["--momentum=2"], ["--momentum=2", "range [0, 1]"]),
        (["--seed=-1"], ["--seed=-1", "range [0, 2147483647]"]),
        (["--loss_scale=much"], ["--loss_scale=much", "positive number or dynamic"]),
        (["--profile_steps=5"], ["--profile_steps=5", "start,stop"]),
        (["--clean=maybe"], ["--clean=maybe", "true or false"]),
        (["--mode=training"], ["--mode=training", "train_and_eval, train, eval"]),
        (["--dtype=fp8"], ["--dtype=fp8", "fp32, bf16, fp16, auto"]),
        (
            ["--distribution_strategy=parameter_server"],
            ["--distribution_strategy", "Keras 3 does not support it", "multi_worker"],
        ),
        (["batch_size=64"], ["'batch_size=64'", "--batch_size=64"]),
        (["train"], ["stray argument 'train'", "--name=value"]),
        (["--bach_size=3"], ["'bach_size'", "batch_size", "--help"]),
        (["--recipe=imagenet"], ["--recipe=imagenet", "digits, mnist"]),
        (["--recipe"], ["--recipe", "Missing value"]),
        (["--recipe="], ["--recipe=", "digits, mnist"]),
        (["--recipe=digits", "--recipe=x"], ["--recipe=x is unknown"]),
        (["--model_dir="], ["--model_dir= has no value"]),
        (["--flagfile="], ["--flagfile= has no value"]),
        (["--flagfile=missing.txt"], ["--flagfile", "missing.txt", "check the path"]),
        (["--flagfile=."], ["--flagfile", "Is a directory"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_wrong_flag(arguments, fragments):
    assert_one_line_error(run(*arguments), *fragments)
    assert not os.path.exists("runs")


@pytest.mark.parametrize(
    "content, fragment",
    [
        (b"\xff\xfe\x00--seed=1\n", "is no text"),
        (b"--batch_size 8\n", "'batch_size 8'"),
        (b"--recipe=imagenet\n", "--recipe=imagenet is unknown"),
        (b"--seed=1\nhello\n", "'hello'"),
    ],
    ids=["binary", "no equals sign", "recipe", "stray"],
)
def test_wrong_flag_file(tmp_path, content, fragment):
    (tmp_path / "flags").write_bytes(content)
    assert_one_line_error(run("--flagfile=flags"), fragment)


@pytest.mark.parametrize(
    "arguments, fragments",
    [
        (
            ["--distribution_strategy=multi_worker_mirrored"],
            ["--distribution_strategy=multi_worker_mirrored", "TF_CONFIG"],
        ),
        (["--distribution_strategy=tpu"], ["--distribution_strategy=tpu"]),
        (["--num_gpus=99"], ["--num_gpus=99", "this machine has", "lower it"]),
        (
            ["--num_virtual_cpus=7", "--distribution_strategy=mirrored"],
            ["--num_virtual_cpus=7", "already started", "fresh process"],
        ),
        (
            ["--inter_op_parallelism_threads=3"],
            ["--inter_op_parallelism_threads=3", "already started"],
        ),
        (["--batch_size=100000"], ["--batch_size=100000", "1295 examples", "lower it"]),
        (
            ["--batch_size=10", "--gradient_accumulation_steps=4"],
            ["--batch_size=10", "4 accumulation steps", "8 and 12 do"],
        ),
        (
            ["--batch_size=2", "--gradient_accumulation_steps=4"],
            ["--batch_size=2", "4 does"],
        ),
        (
            [
                "--batch_size=100",
                "--distribution_strategy=mirrored",
                "--num_virtual_cpus=3",
            ],
            ["--batch_size=100", "3 replicas", "99 and 102 do"],
        ),
        (
            [
                "--batch_size=100",
                "--distribution_strategy=mirrored",
                "--num_virtual_cpus=3",
                "--gradient_accumulation_steps=2",
            ],
            ["3 replicas x 2 accumulation steps", "96 and 102 do"],
        ),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_what_this_machine_or_set_does_not_allow(arguments, fragments):
    # Devices are counted before TensorFlow has started only in a fresh process.
    tf.config.list_logical_devices()
    outcome = run(*arguments, "--train_steps=1", "--model_dir=run")
    assert_one_line_error(outcome, *fragments)
    assert not os.path.exists("run/checkpoints")


def test_another_keras_backend():
    outcome = mains.run_process(MODULE, [], environment={"KERAS_BACKEND": "jax"})
    assert_one_line_error(outcome, "KERAS_BACKEND=jax", "unset it")


# ---- Data ----


def write_idx(folder, count=24):
    """The four files of a small MNIST."""
    for part in ("train", "t10k"):
        header = np.array([0x803, count, 28, 28], ">u4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(count * 784))
        header = np.array([0x801, count], ">u4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes(count))


def replace_with(content):
    return lambda path: path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def set_label(path):
    content = bytearray(path.read_bytes())
    content[8 + 5] = 10
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name, damage, fragment",
    [
        ("train-images-idx3-ubyte", pathlib.Path.unlink, "holds no train-images"),
        ("t10k-labels-idx1-ubyte", replace_with(b""), "is empty"),
        ("train-images-idx3-ubyte", cut, "is truncated"),
        (
            "train-labels-idx1-ubyte",
            replace_with(b"\0\0\x0d\x01abcdefgh"),
            "0x00000d01",
        ),
        ("t10k-labels-idx1-ubyte", set_label, "record 5 has the label 10"),
    ],
    ids=["missing", "empty", "truncated", "magic", "label"],
)
def test_damaged_data(tmp_path, name, damage, fragment):
    data = tmp_path / "data"
    data.mkdir()
    write_idx(data)
    damage(data / name)
    outcome = run("--dataset=mnist", f"--data_dir={data}", "--model_dir=run")
    assert_one_line_error(outcome, name, fragment)


def test_no_data_dir(tmp_path, monkeypatch):
    assert_one_line_error(run("--dataset=mnist"), "needs --data_dir")
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = run("--dataset=mnist", "--data_dir=~/nowhere")
    assert_one_line_error(outcome, f"--data_dir={tmp_path}/nowhere does not exist")


# ---- Folders ----


@pytest.mark.parametrize(
    "path, fragment",
    [
        ("file", "is a file; name a folder"),
        ("file/below", "name another folder"),
        # The superuser, too, cannot write here.
        ("/proc/run", "cannot be written to"),
    ],
)
@pytest.mark.parametrize("mode", ["train_and_eval", "train"])
def test_model_dir_that_takes_no_files(tmp_path, path, fragment, mode):
    (tmp_path / "file").write_text("mine")
    outcome = run(f"--model_dir={path}", f"--mode={mode}")
    assert_one_line_error(outcome, f"--model_dir={path}", fragment)
    assert (tmp_path / "file").read_text() == "mine"


def test_benchmark_log_dir_that_takes_no_files():
    outcome = run(*BRIEF, "--model_dir=run", "--benchmark_log_dir=/proc/run")
    assert_one_line_error(outcome, "/proc/run/benchmark_run.log", "name another folder")


@pytest.mark.parametrize("mode", ["eval", "predict", "export"])
def test_no_trained_model(tmp_path, mode):
    assert_one_line_error(run(f"--mode={mode}"), f"--mode={mode} needs --model_dir")
    outcome = run(f"--mode={mode}", "--model_dir=missing")
    assert_one_line_error(outcome, "--model_dir=missing is no folder", "trained model")
    assert not os.path.exists("missing")
    (tmp_path / "file").write_text("mine")
    outcome = run(f"--mode={mode}", "--model_dir=file")
    assert_one_line_error(outcome, "--model_dir=file is no folder")
    (tmp_path / "empty").mkdir()
    outcome = run(f"--mode={mode}", "--model_dir=empty")
    assert_one_line_error(outcome, "empty/checkpoints holds no checkpoint", "train")
    assert os.listdir("empty") == []


@pytest.mark.parametrize(
    "pattern, fragment",
    [
        (None, "needs --input=FILES"),
        ("missing.png", "--input=missing.png matches no file"),
        ("*.jpg", "--input=*.jpg matches no file"),
        ("empty.png", "empty.png is empty"),
        ("text.png", "text.png is no picture"),
        (".", ". cannot be read"),
    ],
)
def test_wrong_input(tmp_path, trained_once, pattern, fragment):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("a seven")
    arguments = [f"--input={pattern}"] if pattern else []
    outcome = run("--mode=predict", f"--model_dir={trained_once}", *arguments)
    assert_one_line_error(outcome, fragment)


@pytest.mark.parametrize("mode", ["train_and_eval", "export"])
def test_export_dir_is_not_overwritten(tmp_path, trained, mode):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "thesis.txt").write_text("mine")
    before = contents(trained)
    arguments = [f"--mode={mode}", f"--model_dir={trained}", "--train_steps=4"]
    outcome = run(*arguments, "--export_dir=export")
    assert_one_line_error(outcome, "export exists", "name another --export_dir")
    assert os.listdir("export") == ["thesis.txt"]
    outcome = run(*arguments, "--export_dir=export/thesis.txt/model")
    assert_one_line_error(outcome, "cannot be written", "name another --export_dir")
    assert contents(trained) == before


# ---- --clean ----


@pytest.mark.parametrize(
    "path",
    [
        "thesis.txt",
        "thesis/thesis.txt",
        "flags.txt.old",
        "checkpoints/thesis.txt",
        "checkpoints/ckpt-best/thesis.txt",
        "train/thesis.txt",
        "eval/plots/thesis.png",
        "saved_model/thesis.txt",
        "saved_model/variables/thesis.txt",
    ],
)
def test_clean_deletes_no_foreign_file(trained, path):
    foreign = trained / path
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("mine")
    before = contents(trained)
    outcome = run(*BRIEF, "--clean", f"--model_dir={trained}")
    top_of_foreign = path if foreign.parent.name != "thesis" else "thesis/"
    named = top_of_foreign if "ckpt-best" not in path else "checkpoints/ckpt-best"
    named = named if "plots" not in path else "eval/plots"
    assert_one_line_error(outcome, f"{trained}/{named}", "Nothing was deleted")
    assert contents(trained) == before


def test_clean_follows_no_link(tmp_path, trained):
    (tmp_path / "elsewhere").mkdir()
    event = tmp_path / "elsewhere" / "events.out.tfevents.1"
    event.touch()
    (trained / "train").symlink_to(tmp_path / "elsewhere")
    outcome = run(*BRIEF, "--clean", f"--model_dir={trained}")
    assert_one_line_error(outcome, f"{trained}/train was written by no run")
    assert event.exists() and (trained / "results.json").exists()


@pytest.mark.parametrize(
    "mistake",
    [
        "--dataset=mnist",
        "--batch_size=5000",
        "--gradient_accumulation_steps=3",
        "--init_checkpoint=missing",
        "--export_dir=/proc/model",
    ],
)
def test_clean_deletes_nothing_when_the_run_cannot_begin(trained, mistake):
    before = contents(trained)
    outcome = run(*BRIEF, "--clean", f"--model_dir={trained}", mistake)
    assert_one_line_error(outcome)
    assert contents(trained) == before


def test_a_folder_in_which_another_process_trains_is_refused(trained):
    before = contents(trained)
    with RunFolder(str(trained)).lock():
        outcome = run("--train_steps=4", f"--model_dir={trained}")
    assert_one_line_error(outcome, f"--model_dir={trained}", "another process")
    assert contents(trained) == before
    assert run("--train_steps=4", f"--model_dir={trained}").exit_code == 0


def test_clean_again_after_an_interrupted_clean(trained):
    # What is deleted in the middle of --clean, or half written by a killed run.
    (trained / "flags.txt").unlink()
    (trained / "checkpoints" / "checkpoint").unlink()
    (trained / "results.json.tmp").touch()
    (trained / "saved_model.tmp" / "variables").mkdir(parents=True)
    (trained / "checkpoints" / "ckpt-9.tmp.index").touch()
    name = "ckpt-9.tmp.data-00000-of-00001.tempstate123"
    (trained / "checkpoints" / name).touch()
    outcome = run("--train_steps=2", "--clean", f"--model_dir={trained}")
    assert outcome.exit_code == 0, outcome
    found = json.loads((trained / "results.json").read_text())
    assert found["steps"] == 2 and found["resumed_from_steps"] == []
    assert not list(trained.rglob("*.tmp*"))
    assert checkpoints.Checkpoints(str(trained / "checkpoints")).steps() == [2]


# ---- Checkpoints and other files of a run ----


def write_checkpoint(folder, step, tensors):
    tensors["state"] = np.array(json.dumps({"step": step}).encode())
    tf.raw_ops.SaveV2(
        prefix=str(folder / f"ckpt-{step}"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


@pytest.mark.parametrize("mode", ["train_and_eval", "train", "eval", "export"])
def test_checkpoint_of_another_network(trained, mode):
    prefix = trained / "checkpoints" / "ckpt-3"
    tensors = checkpoints.read(str(prefix))
    tensors["model/conv1/kernel"] = np.zeros([3, 3, 1, 32], np.float32)
    tensors["model/conv9/bias"] = tensors.pop("model/conv2/bias")
    write_checkpoint(trained / "checkpoints", 3, tensors)
    before = contents(trained)
    arguments = [f"--model_dir={trained}", f"--mode={mode}", "--train_steps=4"]
    assert_one_line_error(
        run(*arguments, "--batch_size=8"),
        f"{prefix} is of another network",
        "model/conv2/bias is missing",
        "model/conv9/bias is unknown",
        "model/conv1/kernel is [3, 3, 1, 32] there and [5, 5, 1, 32] here",
    )
    assert contents(trained) == before


def test_checkpoint_of_another_optimizer(trained):
    arguments = ["--optimizer=sgd", "--train_steps=4", "--batch_size=8"]
    outcome = run(*arguments, f"--model_dir={trained}")
    assert_one_line_error(outcome, "ckpt-3", "optimizer/", "Use the flags")


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("mode", ["train_and_eval", "eval"])
def test_all_checkpoints_damaged(trained, suffix, mode):
    path = trained / "checkpoints" / f"ckpt-3{suffix}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    arguments = [f"--model_dir={trained}", f"--mode={mode}", "--train_steps=4"]
    outcome = run(*arguments, "--batch_size=8")
    assert_one_line_error(outcome, f"{trained}/checkpoints", "damaged", "--clean")
    assert "ckpt-3 is damaged and is skipped" in outcome.stderr


@pytest.mark.parametrize("state", [b"3", b"\xff", b"{", b'{"step": 7}'])
def test_checkpoint_with_a_damaged_state(trained, state):
    folder = trained / "checkpoints"
    tf.raw_ops.SaveV2(
        prefix=str(folder / "ckpt-3"),
        tensor_names=["state"],
        shape_and_slices=[""],
        tensors=[np.array(state)],
    )
    outcome = run("--mode=eval", f"--model_dir={trained}")
    assert_one_line_error(outcome, str(folder), "damaged")


def test_wrong_init_checkpoint(tmp_path):
    arguments = [*BRIEF, "--model_dir=run"]
    outcome = run(*arguments, "--init_checkpoint=missing")
    assert_one_line_error(
        outcome, "--init_checkpoint=missing", "no readable checkpoint", "name a run's"
    )
    (tmp_path / "file").write_text("mine")
    outcome = run(*arguments, "--init_checkpoint=file")
    assert_one_line_error(outcome, "--init_checkpoint=file", "no readable checkpoint")
    weights = {"model/other/kernel": np.zeros([2, 3], np.float32)}
    write_checkpoint(tmp_path, 5, weights)
    # Also by the name of the file that a shell completes.
    for prefix in ("ckpt-5", "ckpt-5.index"):
        outcome = run(*arguments, f"--init_checkpoint={prefix}")
        assert_one_line_error(
            outcome,
            f"--init_checkpoint={prefix}",
            "is of another network",
            "model/conv1/kernel is missing",
        )
    assert not os.path.exists("run/checkpoints")


@pytest.mark.parametrize(
    "name, content, fragment",
    [
        ("results.json", b"{", "remove the file"),
        ("results.json", b"[]", "remove the file"),
        ("metric.log", b"\xffnonsense\n", "line 1"),
        ("flags.txt", b"\xff\xfe", "flags.txt is damaged"),
        ("results.json", None, "is a folder"),
        ("metric.log", None, "metric.log cannot be written"),
        ("flags.txt", None, "is a folder"),
        ("benchmark_run.log", None, "benchmark_run.log cannot be written"),
    ],
)
def test_damaged_file_of_a_run(trained, name, content, fragment):
    (trained / name).unlink()
    if content is None:
        (trained / name).mkdir()
    else:
        (trained / name).write_bytes(content)
    outcome = run("--train_steps=4", "--batch_size=8", f"--model_dir={trained}")
    assert_one_line_error(outcome, f"{trained}/{name}", fragment)


@pytest.mark.parametrize(
    "content, fragment",
    [
        ("--batch_size=many\n", "--batch_size=many"),
        ("--batch_size=-5\n", "--batch_size=-5"),
        ("--dataset=cifar\n", "--dataset=cifar"),
    ],
)
def test_damaged_flags_of_a_trained_model(trained, content, fragment):
    (trained / "flags.txt").write_text(content)
    outcome = run("--mode=eval", f"--model_dir={trained}")
    assert_one_line_error(outcome, "flags.txt", fragment, "remove that line")


# ---- While it trains ----


def test_loss_that_is_not_finite():
    arguments = ["--model_dir=run", "--mode=train", "--optimizer=sgd", "--batch_size=8"]
    assert run(*arguments, "--train_steps=3").exit_code == 0
    prefix = "run/checkpoints/ckpt-3"
    good = checkpoints.read(prefix)
    outcome = run(*arguments, "--train_steps=8", "--learning_rate=1e10")
    # Step 4 sets weights with which the loss of step 5 overflows.
    assert_one_line_error(outcome, "at step 5", "--learning_rate", "--clip_norm")
    assert checkpoints.Checkpoints("run/checkpoints").steps() == [3]
    for name, value in checkpoints.read(prefix).items():
        np.testing.assert_array_equal(value, good[name])
        if name != "state":
            assert np.isfinite(value).all()


def test_weights_that_are_not_finite(tmp_path):
    # The loss of a step is that of the weights before it.
    outcome = run(
        "--model_dir=run", "--learning_rate=1e39", "--train_steps=1", "--batch_size=8"
    )
    assert_one_line_error(outcome, "is not finite at step 1", "--learning_rate")
    assert checkpoints.Checkpoints("run/checkpoints").steps() == []


@contextlib.contextmanager
def largest_file(num_bytes):
    """No file of this process grows beyond `num_bytes`, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_disk_full_while_a_checkpoint_is_written(trained):
    arguments = ["--train_steps=6", "--batch_size=8", f"--model_dir={trained}"]
    folder = trained / "checkpoints"
    before = contents(folder)
    # A checkpoint has 1.6 million weights with two moments each, 20 MB.
    with largest_file(10_000_000):
        outcome = run(*arguments)
    assert_one_line_error(
        outcome, f"{folder}/ckpt-6", "File too large", "free space", "from step 3"
    )
    after = contents(folder)
    assert {path: after[path] for path in before} == before
    assert {str(path) for path in after.keys() - before.keys()} <= {
        "checkpoint.resumes"
    }
    outcome = run(*arguments)
    assert outcome.exit_code == 0, outcome
    found = json.loads((trained / "results.json").read_text())
    assert found["steps"] == 6 and found["resumed_from_steps"] == [3, 3]


def test_disk_full_in_a_process_of_its_own(tmp_path):
    outcome = mains.run_process(
        MODULE,
        [*BRIEF, "--model_dir=run"],
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (10_000_000, resource.RLIM_INFINITY)
        ),
    )
    assert_one_line_error(outcome, "run/checkpoints/ckpt-3", "free space")
    assert os.listdir("run/checkpoints") == []


def test_disk_full_while_the_metric_log_is_written(trained):
    log = trained / "metric.log"
    while log.stat().st_size < 100_000:
        log.write_bytes(log.read_bytes() * 2)
    with largest_file(log.stat().st_size):
        outcome = run("--train_steps=4", "--batch_size=8", f"--model_dir={trained}")
    assert_one_line_error(outcome, f"{log} cannot be written", "free space")
    assert checkpoints.Checkpoints(str(trained / "checkpoints")).load(3)


def test_disk_full_while_the_saved_model_is_written(trained):
    before = contents(trained)
    with largest_file(1_000_000):
        outcome = run("--mode=export", f"--model_dir={trained}")
    assert_one_line_error(outcome, f"SavedModel {trained}/saved_model", "free space")
    # The one before it is whole, and the next export makes do with what was left.
    after = contents(trained)
    assert {path: after[path] for path in before} == before
    assert run("--mode=export", f"--model_dir={trained}").exit_code == 0
    assert contents(trained).keys() == before.keys()


def test_names_in_other_scripts():
    folder = "größe ключ/数字"
    assert run(*BRIEF, f"--model_dir={folder}").exit_code == 0
    outcome = run("--mode=eval", f"--model_dir={folder}")
    assert outcome.exit_code == 0 and "accuracy" in outcome.stdout
