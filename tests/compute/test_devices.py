import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from maml.compute import arithmetic, devices
from maml.configuration.schema import Runtime
from maml.files.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from maml.compute import devices
devices.POLL_SECONDS = 0.05
with devices.lease(int(sys.argv[1]), Path(sys.argv[2])) as gpu:
    print(gpu, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(folder, slots=1, gpus="0,1"):
    """Run a process that leases a GPU and holds it; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(slots), str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpus},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def gpus(monkeypatch):
    """A machine with two GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def runtime(device, jobs_per_gpu=1):
    return Runtime(
        device=device,
        precision="float32",
        threads=1,
        jobs_per_gpu=jobs_per_gpu,
        checkpoint_every=1,
        checkpoint_minutes=1.0,
        task_chunk=1,
    )


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("0,1", ["0", "1"]),
        ("3", ["3"]),
        ("GPU-8932f937, MIG-GPU-8932f937/1/2", ["GPU-8932f937", "MIG-GPU-8932f937/1/2"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_visible_gpus_are_those_that_cuda_would_see(monkeypatch, value, ids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert devices.visible_gpus() == ids


def test_visible_gpus_without_a_driver(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    assert devices.visible_gpus() == []


def test_visible_gpus_of_the_driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("setting", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cpu", "cpu")]
)
def test_choose_with_gpus(gpus, setting, device):
    assert devices.choose(setting) == torch.device(device)


def test_choose_without_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.choose("auto") == devices.choose("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match=r"runtime\.device is cuda, but no GPU is visible"):
        devices.choose("cuda")


@pytest.mark.parametrize(
    ("driver", "reason"),
    [(False, "there is no driver"), (True, "the driver has no such GPU")],
)
@pytest.mark.parametrize("named", ["0", "7", "GPU-8932f937"])
def test_what_is_named_and_cannot_be_used_is_no_gpu(gpus, monkeypatch, driver, reason, named):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(devices, "has_driver", lambda: driver)
    assert devices.choose("auto") == torch.device("cpu")
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES is '{named}', and {reason}"):
        devices.choose("cuda")


def test_choose_with_a_pytorch_that_has_no_cuda(gpus, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert devices.choose("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="built without CUDA"):
        devices.choose("cuda")


def test_choose_refuses_other_devices():
    with pytest.raises(UserError, match="'mps' is not supported; use auto, cpu or cuda"):
        devices.choose("mps")


def test_taken_leases_only_a_gpu(gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "LEASES", tmp_path)
    with devices.taken(runtime("cpu")) as device:
        assert device == torch.device("cpu")
        assert list(tmp_path.iterdir()) == []
    with devices.taken(runtime("auto")) as device:
        assert device == torch.device("cuda:0")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        assert len(list(tmp_path.iterdir())) == 1
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_holders_spread_and_never_share(tmp_path):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(holder(tmp_path)) for _ in range(2)]
        assert sorted(each.stdout.readline().strip() for each in held) == ["0", "1"]
        third = stack.enter_context(holder(tmp_path))
        assert third.stderr.readline() == "waiting for a GPU: all 2 slots are taken\n"
        assert third.poll() is None


def test_slots_of_a_gpu_are_shared_after_all_gpus_are_in_use(tmp_path):
    with contextlib.ExitStack() as stack:
        ids = [
            stack.enter_context(holder(tmp_path, slots=2)).stdout.readline().strip()
            for _ in range(4)
        ]
        assert ids == ["0", "1", "0", "1"]


def test_a_killed_holder_frees_its_gpu(tmp_path):
    with holder(tmp_path, gpus="0") as first:
        assert first.stdout.readline() == "0\n"
        with holder(tmp_path, gpus="0") as second:
            assert second.stderr.readline().startswith("waiting for a GPU")
            first.send_signal(signal.SIGKILL)
            assert second.stdout.readline() == "0\n"


def gpu_of_a_job(folder, error):
    """Return the GPU that a job had, which ended with an error."""
    with contextlib.suppress(type(error)), devices.lease(1, folder) as gpu:
        raise error
    return gpu


@pytest.mark.parametrize(
    ("error", "left_alone"),
    [
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (RuntimeError("the weights have other shapes"), False),
        (UserError("the disk is full"), False),
    ],
)
def test_a_gpu_that_fails_is_left_alone_while_there_is_another(
    gpus, tmp_path, monkeypatch, capsys, error, left_alone
):
    assert gpu_of_a_job(tmp_path, error) == "0"
    with devices.lease(1, tmp_path) as gpu:
        assert gpu == ("1" if left_alone else "0")
    assert ("GPU 0 failed" in capsys.readouterr().err) == left_alone
    monkeypatch.setattr(devices, "FAILED_SECONDS", -1)  # some time later
    with devices.lease(1, tmp_path) as gpu:
        assert gpu == "0"


def test_where_every_gpu_failed_they_are_tried_again(gpus, tmp_path):
    error = torch.AcceleratorError("CUDA error: unspecified launch failure")
    assert [gpu_of_a_job(tmp_path, error) for _ in range(3)] == ["0", "1", "0"]


def test_jobs_of_a_scheduler_do_not_wait_for_each_other(gpus, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with devices.lease(1, tmp_path):
        monkeypatch.setenv("SLURM_JOB_ID", "18")
        with devices.lease(1, tmp_path) as gpu:
            assert gpu == "0"


@pytest.fixture(autouse=True)
def usual_arithmetic(monkeypatch):
    for name in sum(devices.ARITHMETIC.values(), ()):
        monkeypatch.delenv(name, raising=False)


def test_describe_names_the_processor_and_its_instructions():
    kind, _, rest = devices.describe(torch.device("cpu")).partition(": ")
    model, _, instructions = rest.rpartition(", ")
    assert kind == "cpu"
    assert instructions == torch.backends.cpu.get_cpu_capability()
    assert model.strip() == model != ""
    if Path("/proc/cpuinfo").exists() and "model name" in Path("/proc/cpuinfo").read_text():
        assert model in Path("/proc/cpuinfo").read_text()


def test_describe_names_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    assert devices.describe(torch.device("cuda:0")) == "cuda: NVIDIA H100"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the project sets it
    assert devices.describe(torch.device("cuda:0")) == "cuda: NVIDIA H100"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")  # a GPU does not ask MKL
    expected = "cuda: NVIDIA H100, CUBLAS_WORKSPACE_CONFIG=:16:8, NVIDIA_TF32_OVERRIDE=1"
    assert devices.describe(torch.device("cuda:0")) == expected


@pytest.mark.parametrize("name", devices.ARITHMETIC["cpu"])
def test_describe_names_what_changes_a_processors_bits(monkeypatch, name):
    usual = devices.describe(torch.device("cpu"))
    monkeypatch.setenv(name, "AVX2")
    assert devices.describe(torch.device("cpu")) == f"{usual}, {name}=AVX2"


@pytest.mark.parametrize(
    ("device", "gibibytes", "limits"),
    [
        ("cuda:0", 20.0, [0.25]),
        ("cuda:0", 100.0, [1.0]),  # more than there is
        ("cuda:0", None, []),
        ("cpu", 20.0, []),
    ],
)
def test_memory_is_limited_as_a_share_of_the_gpus(monkeypatch, device, gibibytes, limits):
    device, found = torch.device(device), []

    def limit(fraction, of):
        assert of == device
        found.append(fraction)

    gpu = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda of: gpu)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    devices.limit_memory(device, gibibytes)
    assert found == limits


def test_the_precision_names_a_dtype():
    assert arithmetic.dtype("float32") == torch.float32
    assert arithmetic.dtype("float64") == torch.float64


def test_a_gpu_is_to_compute_float32_as_float32_and_a_cpu_is_left_alone(monkeypatch):
    def state():
        return (
            torch.backends.cuda.matmul.fp32_precision,
            torch.backends.cudnn.conv.fp32_precision,
            torch.are_deterministic_algorithms_enabled(),
        )

    before = state()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    arithmetic.compute_exactly(torch.device("cpu"))
    assert state() == before
    try:
        arithmetic.compute_exactly(torch.device("cuda"))
        assert state() == ("ieee", "ieee", True)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"  # a person's choice stays
    finally:
        torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = (
            before[:2]
        )
        torch.use_deterministic_algorithms(before[2])
        torch.utils.deterministic.fill_uninitialized_memory = True
