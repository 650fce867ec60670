"""TensorBoard's event files of a training, for watching a long run from elsewhere."""

from collections.abc import Mapping
from contextlib import suppress

from maml.configuration.config import Job
from maml.files import paths
from maml.files.errors import UserError


class Events:
    """Writes the numbers of one seed's training where ``tensorboard --logdir`` finds them.

    Args:
        job: whose training.

    Raises:
        UserError: the package that writes them is not installed.
    """

    def __init__(self, job: Job) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "runtime.tensorboard is true, and the package tensorboard is not installed; to"
                " install it: pip install 'maml[tensorboard]'"
            ) from error
        self._folder = paths.events(job.run, job.experiment, job.method, job.seed)
        self._new, self._writer = SummaryWriter, None

    def write(self, iteration: int, numbers: Mapping[str, float | None]) -> None:
        """Write numbers under their names; those that are None are left out.

        What an earlier process wrote of this and later iterations is shown no more. A full disk
        ends no training for the sake of its curves.
        """
        with suppress(OSError):
            if self._writer is None:
                self._writer = self._new(str(self._folder), purge_step=iteration)
            for name, number in numbers.items():
                if number is not None:
                    self._writer.add_scalar(name, number, iteration)

    def close(self) -> None:
        """Write what is left."""
        with suppress(OSError):
            if self._writer is not None:
                self._writer.close()
