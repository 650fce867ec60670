"""Programs that are forked from a process that has imported them, as most of a tiny job is imports.

The folder of programs is like an environment's ``bin``: its ``maml``, ``snakemake``, ``dvc`` and
``python -m`` of the three hand arguments, folder, environment and streams to the process that
serves, and end as its child does. To the child its Python is the one in that folder, so what it
starts is forked, too. Where the project's code is another than what was imported, it is imported
anew. What Python reads as it starts (``LD_LIBRARY_PATH``), and a signal to the caller's group of
processes, do not reach them.
"""

import atexit
import filecmp
import gc
import json
import os
import pkgutil
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
FOLDER = "WARM_PROGRAMS"
"""The variable of the environment that says where the programs are."""

IMPORTED = {
    "maml": [
        *("jinja2", "tabulate", "wcwidth", "pandas.io.formats.csvs", "pandas.io.formats.style"),
        *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    ],
    "snakemake": [
        *("snakemake.cli", "snakemake.report.html_reporter", "snakemake.storage"),
        "smart_open",  # imports the clients of all clouds
    ],
    "dvc": [
        *("dvc.cli.parser", "dvc.repo", "dvc_s3", "dvc.cachemgr", "dvc.daemon", "dvc.data_cloud"),
        *("dvc.lock", "dvc.rwlock", "dvc.scm", "dvc.repo.artifacts", "dvc.repo.brancher"),
        *("dvc.repo.datasets", "dvc.repo.index", "dvc.repo.metrics", "dvc.repo.open_repo"),
        *("dvc.repo.params", "dvc.repo.plots", "dvc.repo.stage", "dvc.repo.worktree"),
        *("dvc.utils.strictyaml", "networkx", "rich.status", "scmrepo.git"),
    ],
}
"""Program → what is imported when it is called for the first time; of the project all is before."""

PROGRAM = '#!/bin/sh\nexec {call} {program} "$@"\n'
PYTHON = """#!/bin/sh
case "$1 $2" in
    {programs}) shift; exec {call} "$@" ;;
    *) exec {python} "$@" ;;
esac
"""


@contextmanager
def warm() -> Iterator[Path]:
    """Serve while the block runs; yields the folder of programs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        address = str(folder / "socket")
        call = shlex.join([sys.executable, "-S", __file__, "call", address])
        for program in IMPORTED:
            _write(folder / program, PROGRAM.format(call=call, program=program))
        programs = " | ".join(f"'-m {program}'" for program in IMPORTED)
        python = shlex.quote(sys.executable)
        _write(folder / "python", PYTHON.format(programs=programs, call=call, python=python))
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", address],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with server:
            server.stdout.readline()  # it listens
            yield folder
            os.killpg(server.pid, signal.SIGKILL)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def call(address: str, arguments: list[str]) -> int:
    """Run a program with its arguments in a child of the server; return its exit code."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        wanted = json.dumps([arguments, str(Path.cwd()), dict(os.environ)]).encode()
        socket.send_fds(server, [len(wanted).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(wanted)
        with server.makefile() as answers:
            child = int(answers.readline())
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda number, _: os.kill(child, number))
            return int(answers.readline() or 1)


def serve(address: str) -> None:
    """Import the project, then fork for each call."""
    sys.executable = str(Path(address).with_name("python"))
    import maml

    for module in pkgutil.walk_packages(maml.__path__, "maml."):
        if module.name != "maml.__main__":
            import_module(module.name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print(flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who waits for a job
        while True:
            caller, _ = server.accept()
            size, streams, *_ = socket.recv_fds(caller, 8, 3)
            with caller.makefile("rb") as sent:
                wanted = json.loads(sent.read(int.from_bytes(size, "big")))
            _prepare(wanted[0][0])
            if not os.fork():
                server.close()
                _answer(caller, streams, *wanted)
            caller.close()
            for stream in streams:
                os.close(stream)


@cache
def _prepare(program: str) -> None:
    """Do once what every call of a program would do."""
    for module in IMPORTED[program]:
        import_module(module)
    if program == "snakemake":
        import_module("snakemake.cli").get_argument_parser()  # finds its plugins
        digests = import_module("maml.files.codedigest")
        for job in digests.JOBS:
            digests.code_of(job)  # reads and parses the code
    gc.collect()
    gc.freeze()  # or a child would look through all of this for garbage, and so copy it


def _answer(caller, streams, arguments, folder, environment) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        _run(arguments, folder, environment, streams)
    caller.sendall(f"{child}\n".encode())
    for stream in streams:  # or who reads what the child prints would wait for this process
        os.close(stream)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    caller.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
    os._exit(0)


def _run(arguments, folder, environment, streams) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    code = 0
    try:
        _start_as_python_does(environment["PYTHONPATH"].split(os.pathsep))
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _start_as_python_does(path: list[str]) -> None:
    """Import what is in these folders, and not what the server has imported where it differs."""
    sys.path[:0] = path
    if not _same(Path(path[0])):
        for name in [name for name in sys.modules if name.partition(".")[0] == "maml"]:
            del sys.modules[name]
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")


def _same(source: Path) -> bool:
    files = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")]
    _, *differing = filecmp.cmpfiles(SOURCE, source, files)
    return not any(differing)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
