"""A tf.distribute strategy, and the settings of the whole process, from flags."""

import contextlib
import dataclasses
import json
import os
import signal
import threading
from collections.abc import Iterator

import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.flags.settings import Settings


def apply_process_settings(settings: Settings) -> None:
    """Applies threads, virtual devices and determinism.

    Args:
        settings: resolved flags.

    Raises:
        UserError: TensorFlow is already initialised with another value, or there are
            fewer GPUs than asked for. The message names the flag.
    """
    threading = tf.config.threading
    _apply(
        "inter_op_parallelism_threads",
        settings.inter_op_parallelism_threads,
        threading.get_inter_op_parallelism_threads(),
        threading.set_inter_op_parallelism_threads,
    )
    _apply(
        "intra_op_parallelism_threads",
        settings.intra_op_parallelism_threads,
        threading.get_intra_op_parallelism_threads(),
        threading.set_intra_op_parallelism_threads,
    )
    cpu = tf.config.list_physical_devices("CPU")[0]
    split = tf.config.get_logical_device_configuration(cpu) or [None]
    if settings.num_virtual_cpus > len(split):
        _apply(
            "num_virtual_cpus",
            settings.num_virtual_cpus,
            len(split),
            lambda number: tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(number)]
            ),
        )
    gpus = tf.config.list_physical_devices("GPU")
    if settings.num_gpus > len(gpus):
        raise UserError(
            f"--num_gpus={settings.num_gpus}: this machine has {len(gpus)}; lower it, "
            "or leave it out to take all there are"
        )
    if settings.num_gpus >= 0:
        _apply(
            "num_gpus",
            settings.num_gpus,
            len(tf.config.get_visible_devices("GPU")),
            lambda number: tf.config.set_visible_devices(gpus[:number], "GPU"),
        )
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()


def _apply(flag: str, wanted: int, present: int, apply) -> None:
    if wanted == present:
        return
    try:
        apply(wanted)
    except RuntimeError:
        raise UserError(
            f"--{flag}={wanted}: TensorFlow has already started in this process with "
            f"{present}; set it in a fresh process, before anything is computed"
        ) from None


def make_strategy(settings: Settings) -> tf.distribute.Strategy:
    """The strategy that the flags ask for.

    Args:
        settings: resolved flags, after `apply_process_settings`.

    Returns:
        A strategy; for `off` TensorFlow's default one, which has one replica.

    Raises:
        UserError: the devices or the settings do not allow it.
    """
    name = settings.distribution_strategy
    if name == "multi_worker_mirrored":
        return _multi_worker_mirrored(settings)
    if name == "tpu":
        return _tpu(settings)
    gpus = tf.config.list_logical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")[: settings.num_virtual_cpus]
    devices = gpus or cpus
    if name == "off":
        if settings.num_gpus > 1:
            raise UserError(
                f"--num_gpus={settings.num_gpus} needs --distribution_strategy=mirrored"
            )
        return tf.distribute.get_strategy()
    if name == "one_device":
        if settings.num_gpus > 1:
            raise UserError(
                f"--num_gpus={settings.num_gpus}: one_device takes one; use "
                "--distribution_strategy=mirrored"
            )
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(
            [device.name for device in devices],
            cross_device_ops=_cross_device_ops(settings),
        )
    raise AssertionError(name)


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes of a run.

    Attributes:
        number: how many there are.
        is_chief: whether this is the one that writes files.
    """

    number: int
    is_chief: bool


def workers_of(strategy: tf.distribute.Strategy) -> Workers:
    """The processes that `strategy` joins; one where it joins none."""
    resolver = strategy.cluster_resolver
    if resolver is None:
        return Workers(1, is_chief=True)
    cluster = resolver.cluster_spec().as_dict()
    number = len(cluster.get("chief", ())) + len(cluster.get("worker", ()))
    is_first = not resolver.task_id
    return Workers(
        max(1, number),
        is_chief=is_first and ("chief" not in cluster or resolver.task_type == "chief"),
    )


def _tpu(settings: Settings) -> tf.distribute.Strategy:
    if settings.tpu not in (None, "", "local"):
        # A TPU of its own machine reads and writes by itself, and would fail late.
        for flag in ("model_dir", "data_dir"):
            path = settings[flag]
            if path and "://" not in path:
                raise UserError(
                    f"--{flag}={path}: the TPU {settings.tpu} sees no local folder; "
                    "name one in gs://, or use --tpu=local on the TPU's own machine"
                )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(settings.tpu or "")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"--distribution_strategy=tpu: TensorFlow {tf.__version__} finds no TPU "
            f"({one_line(error)}). TensorFlow's last release with TPU support is "
            "2.19.1; without a TPU use off or mirrored"
        ) from None


def _multi_worker_mirrored(settings: Settings) -> tf.distribute.Strategy:
    communication = tf.distribute.experimental.CommunicationImplementation
    implementations = {
        None: communication.AUTO,
        "ring": communication.RING,
        "nccl": communication.NCCL,
    }
    if settings.all_reduce_alg not in implementations:
        raise UserError(
            f"--all_reduce_alg={settings.all_reduce_alg} is for mirrored; "
            "multi_worker_mirrored takes ring or nccl"
        )
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementations[settings.all_reduce_alg]
    )
    resolver = _cluster_resolver(settings)
    try:
        with _interruptible():
            return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    except tf.errors.OpError as error:
        raise UserError(
            f"the workers do not find each other ({one_line(error)}); start all of "
            "them, and check --worker_hosts or TF_CONFIG"
        ) from None
    except RuntimeError:
        raise UserError(
            "--distribution_strategy=multi_worker_mirrored: TensorFlow has already "
            "started in this process; start each worker as a process of its own"
        ) from None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lets SIGINT end the process at once.

    While TensorFlow waits for the other workers, Python's own handler would not run.
    TensorFlow takes SIGTERM for itself meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cluster_resolver(settings) -> tf.distribute.cluster_resolver.ClusterResolver:
    """The addresses of all workers, from `--worker_hosts` or else from TF_CONFIG."""
    if settings.worker_hosts:
        hosts = [host.strip() for host in settings.worker_hosts.split(",")]
        for host in hosts:
            name, _, port = host.rpartition(":")
            if not name or not port.isdigit():
                raise UserError(f"--worker_hosts: {host!r} is not host:port")
        if not 0 <= settings.task_index < len(hosts):
            raise UserError(
                f"--task_index={settings.task_index} should be from 0 to "
                f"{len(hosts) - 1}, the place of this worker in --worker_hosts"
            )
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": hosts}),
            task_type="worker",
            task_id=settings.task_index,
        )
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise UserError(
            "--distribution_strategy=multi_worker_mirrored needs --worker_hosts and "
            "--task_index, or the environment variable TF_CONFIG"
        )
    try:
        config = json.loads(text)
        hosts = config["cluster"].get("chief", []) + config["cluster"]["worker"]
        kind, index = config["task"]["type"], int(config["task"]["index"])
        if kind not in ("chief", "worker") or not hosts or index < 0:
            raise ValueError("task is neither chief nor worker")
        config["cluster"][kind][index]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG is damaged ({type(error).__name__}: {error}); it reads "
            '{"cluster": {"worker": ["host:port", ...]}, '
            '"task": {"type": "worker", "index": 0}}'
        ) from None
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def _cross_device_ops(settings: Settings) -> tf.distribute.CrossDeviceOps | None:
    kinds = {
        "nccl": tf.distribute.NcclAllReduce,
        "hierarchical_copy": tf.distribute.HierarchicalCopyAllReduce,
    }
    if settings.all_reduce_alg is None:
        # TensorFlow's own choice for CPUs refuses a second number of replicas in one
        # process, such as a notebook's.
        has_gpu = tf.config.list_logical_devices("GPU")
        return None if has_gpu else tf.distribute.ReductionToOneDevice()
    if settings.all_reduce_alg not in kinds:
        raise UserError(
            f"--all_reduce_alg={settings.all_reduce_alg} is for multi_worker_mirrored; "
            f"mirrored takes {' or '.join(kinds)}"
        )
    return kinds[settings.all_reduce_alg](num_packs=settings.num_packs)


def check_batch_size(settings: Settings, replicas: int) -> None:
    """Checks that a step's batch can be shared out evenly.

    Args:
        settings: resolved flags.
        replicas: replicas of the run.

    Raises:
        UserError: it cannot; names the nearest sizes that can.
    """
    pieces = replicas * settings.gradient_accumulation_steps
    batch_size = settings.batch_size
    if batch_size % pieces == 0:
        return
    below = batch_size // pieces * pieces
    nearest = [str(size) for size in (below, below + pieces) if size]
    parts = f"{replicas} replicas" if replicas > 1 else ""
    if settings.gradient_accumulation_steps > 1:
        parts += " x " if parts else ""
        parts += f"{settings.gradient_accumulation_steps} accumulation steps"
    raise UserError(
        f"--batch_size={batch_size} does not divide by {parts}; "
        f"{' and '.join(nearest)} {'do' if len(nearest) > 1 else 'does'}"
    )
