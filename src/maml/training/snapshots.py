"""θ at the iterations that ``snapshots`` lists, beside the other outputs of a training.

No rule declares them, so they are there while the training goes on and stay when it is interrupted.
Which iterations are listed changes no bit of the training.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from maml.files import paths
from maml.files.atomic import remove_all_unfinished, writing
from maml.files.errors import UserError
from maml.training import weights
from maml.training.checkpoint import Checkpoint
from maml.training.seed_group import SeedGroup
from maml.training.state import State, all_finite


class Snapshots:
    """The snapshots of one job.

    Args:
        outs: the folder of each seed.
        wanted: the iterations that are listed; 0 is the initialisation.
        checkpoint: of the same job.
        origin: what the weights say that they come from.
    """

    def __init__(
        self,
        outs: Sequence[Path],
        wanted: Sequence[int],
        checkpoint: Checkpoint,
        origin: dict[str, Any],
    ) -> None:
        self._outs, self._wanted = outs, frozenset(wanted)
        self._checkpoint, self._origin = checkpoint, origin

    def begin(self, iteration: int, say: Callable[[str], None]) -> None:
        """Remove what is not of this training so far; say what it cannot keep any more.

        Args:
            iteration: from which the training goes on.
            say: is told.
        """
        for out in self._outs:
            remove_all_unfinished(paths.snapshot(out, 0).parent)  # finished later, or never
            for path in paths.snapshots(out):
                if not self._belongs(path, iteration):
                    evaluation = paths.snapshot_evaluation(out, paths.snapshot_iteration(path))
                    with writing(path):
                        path.unlink()
                        evaluation.unlink(missing_ok=True)
        missing = sorted(
            wanted
            for wanted in self._wanted
            if wanted < iteration
            and not all(paths.snapshot(out, wanted).exists() for out in self._outs)
        )
        if missing:
            listed = ", ".join(f"{wanted:,}" for wanted in missing)
            say(f"no snapshot of {listed}: it goes on from iteration {iteration:,}")

    def keep(self, group: SeedGroup) -> None:
        """Write θ if its iteration is listed and not kept yet."""
        if group.iteration in self._wanted:
            for state, out in zip(group.states, self._outs, strict=True):
                self._keep(state, paths.snapshot(out, group.iteration))

    def _keep(self, state: State, path: Path) -> None:
        if path.exists() or state.divergence or not all_finite(state.theta):
            return
        weights.save(
            path,
            state.theta,
            state.job,
            iteration=state.iteration,
            stretches=self._checkpoint.stretches(state.iteration),
            **self._origin,
        )

    def _belongs(self, path: Path, iteration: int) -> bool:
        """Tell whether a file is of this training, up to an iteration."""
        try:
            about = weights.load(path).about
        except UserError:
            return False
        own = paths.snapshot_iteration(path)
        expected = {"iteration": own, "stretches": self._checkpoint.stretches(own), **self._origin}
        return own <= iteration and all(about.get(key) == expected[key] for key in expected)
