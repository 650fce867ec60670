"""The paper's networks in PyTorch's own words, with PyTorch's own running statistics."""

from torch import nn
from torch.nn import functional


def batch_norms(network, dtype):
    """Return the batch norms; in training they note the mean over all batches that they see."""
    kind = nn.BatchNorm2d if network.kind == "conv" else nn.BatchNorm1d
    how = {"eps": network.batch_norm_epsilon, "momentum": None, "affine": False, "dtype": dtype}
    return nn.ModuleList(kind(width, **how) for width in network.widths)


def features(network, theta, images, norms):
    """Return what the head sees of images ``(images, channels, height, width)``."""
    x = images if network.kind == "conv" else images.flatten(1)
    for number, norm in enumerate(norms, start=1):
        if network.kind == "mlp":
            x = functional.linear(x, theta[f"linear{number}.weight"], theta[f"linear{number}.bias"])
        else:
            stride = 2 if network.downsampling == "stride" else 1
            odd = stride == 1 or x.shape[-1] % 2
            x = functional.pad(x, (1, 1, 1, 1) if odd else (0, 1, 0, 1))
            x = functional.conv2d(
                x, theta[f"conv{number}.weight"], theta[f"conv{number}.bias"], stride=stride
            )
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = theta.get(f"norm{number}.scale")
        x = norm(x) if scale is None else norm(x) * scale.view(shape)
        x = x + theta[f"norm{number}.offset"].view(shape)
        x = x.relu() if network.activation == "relu" else functional.softplus(x)
        x = functional.max_pool2d(x, 2) if network.downsampling == "max-pool" else x
    if network.kind == "mlp":
        return x
    return x.mean((2, 3)) if network.features == "mean" else x.permute(0, 2, 3, 1).flatten(1)


def logits(network, theta, images, norms):
    """Return what the head says of them."""
    found = features(network, theta, images, norms)
    return functional.linear(found, theta["head.weight"], theta["head.bias"])
