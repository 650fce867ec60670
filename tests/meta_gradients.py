"""Meta-gradients of all tasks at once, and how far two are from each other."""

from maml.algorithm.maml import meta_gradient
from maml.networks.network import build


def relative(ours, theirs):
    """Norm of the difference of two whole gradients over the norm of the second."""
    assert ours.keys() == theirs.keys()
    difference = sum((ours[name] - theirs[name]).square().sum() for name in ours)
    return float((difference / sum(value.square().sum() for value in theirs.values())).sqrt())


def built(network, method, experiment, batch):
    return build(
        network,
        tuple(batch.support_images.shape[2:]),
        experiment.ways,
        cut_max_pool=method.max_pool_second_derivative == "cut",
    )


def batched(network, method, experiment, theta, batch, **options):
    """Compute a meta-gradient for all tasks at once."""
    layers = built(network, method, experiment, batch)
    return meta_gradient(layers, method, experiment, theta, batch, **options)
