"""The reference network as a module of PyTorch, which is what other packages adapt."""

from torch import Tensor, nn

from maml.algorithm import plain
from maml.configuration.schema import Network

Parameters = dict[str, Tensor]


def is_adapted(name: str) -> bool:
    """Tell whether the inner loop adapts a parameter: all but batch norm's offsets."""
    return not name.endswith(".offset")


def split(theta: Parameters) -> tuple[Parameters, Parameters]:
    """Return the parameters that the inner loop adapts, and the others."""
    names = [name for name in theta if is_adapted(name)]
    return (
        {name: theta[name] for name in names},
        {name: value for name, value in theta.items() if name not in names},
    )


class Module(nn.Module):
    """The reference network; ``outside`` are parameters that it does not own."""

    def __init__(self, network: Network, inside: Parameters, outside: Parameters) -> None:
        super().__init__()
        self.network = network
        self.outside = {
            name: value.detach().clone().requires_grad_() for name, value in outside.items()
        }
        self.names = {name: name.replace(".", "_") for name in inside}
        for name, value in inside.items():
            self.register_parameter(self.names[name], nn.Parameter(value.detach().clone()))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of one task's images."""
        return plain.logits(self.network, self.inside() | self.outside, images)

    def inside(self) -> Parameters:
        """Return its own parameters by the names that θ has."""
        return {name: getattr(self, attribute) for name, attribute in self.names.items()}

    def gradients(self) -> Parameters:
        """Return what backward passes left, by the names that θ has."""
        return {name: value.grad for name, value in (self.inside() | self.outside).items()}
