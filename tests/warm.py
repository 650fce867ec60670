"""A process that has imported the project and Snakemake, and forks for each job and each run.

Most of a tiny job is imports, and so is most of a run of few jobs. A job's shell calls ``maml``,
which here is a function of that shell (bash takes functions from the environment) that hands
arguments, folder, environment and streams to the process that serves, and ends as its child does.
Where the project's code is another than what was imported, Python is started as ever.
"""

import atexit
import filecmp
import json
import os
import pkgutil
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
ADDRESS = "WARM_ADDRESS"
"""The variable of the environment that says where the process serves."""


@contextmanager
def warm() -> Iterator[dict[str, str]]:
    """Serve while the block runs; yields what a shell's environment needs to call it."""
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder, "socket"))
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", address],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with server:
            server.stdout.readline()  # it listens
            call = shlex.join(command(address, "maml"))
            yield {"BASH_FUNC_maml%%": f'() {{ {call} "$@"\n}}', ADDRESS: address}
            os.killpg(server.pid, signal.SIGKILL)


def command(address: str, program: str) -> list[str]:
    """Return how to call ``maml`` or ``snakemake`` in a child of the process that serves there."""
    return [sys.executable, "-S", __file__, "call", address, program]


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
    """Import the project and Snakemake, then fork for each call."""
    import maml

    for module in pkgutil.walk_packages(maml.__path__, "maml."):
        if module.name != "maml.__main__":
            import_module(module.name)
    import_module("snakemake.cli")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print(flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who waits for a job
        while True:
            caller, _ = server.accept()
            if not os.fork():
                server.close()
                _answer(caller)
            caller.close()


def _answer(caller: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, *_ = socket.recv_fds(caller, 8, 3)
    with caller.makefile("rb") as sent:
        arguments, folder, environment = json.loads(sent.read(int.from_bytes(size, "big")))
    child = os.fork()
    if not child:
        _run(arguments, folder, environment, streams)
    caller.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    caller.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
    os._exit(0)


def _run(arguments, folder, environment, streams) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    program, *_ = arguments
    if not _same(Path(environment["PYTHONPATH"].partition(os.pathsep)[0])):
        os.execv(sys.executable, [sys.executable, "-m", *arguments])
    sys.argv = arguments
    if program == "snakemake":
        import_module("maml.workflow.control").MAML = command(environment[ADDRESS], "maml")
    code = 0
    try:
        import_module(f"{program}.cli").main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _same(source: Path) -> bool:
    files = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")]
    _, *differing = filecmp.cmpfiles(SOURCE, source, files)
    return not any(differing)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
