"""A layer's four functions beside what autograd makes of the same function, written plainly."""

import torch


def check(layer, plainly, phi, shape, moves=True):
    """Compare a layer with ``plainly(x, phi)``, which autograd differentiates, in float64.

    Args:
        layer: the layer, unused.
        plainly: the same function of x and the parameters.
        phi: name → parameter of each task.
        shape: of x.
        moves: whether x depends on the parameters; otherwise the layer is a first one.
    """
    generator = torch.Generator().manual_seed(1)

    def random(shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = 2 + random(shape)
    y = layer.forward(x, phi)
    torch.testing.assert_close(y, plainly(x, phi))
    g, dg, dx = random(y.shape), random(y.shape), random(shape) if moves else torch.zeros(shape)
    v = {name: random(value.shape) for name, value in phi.items()}
    if not moves:
        dx = dx.double()

    def function(x, *values):
        return plainly(x, dict(zip(phi, values, strict=True)))

    def gradients(g, *values):
        return torch.autograd.functional.vjp(function, values, g, create_graph=True)[1]

    values = (x, *phi.values())
    # no inner step moves an offset
    direction = (dx, *(0 * d if name.endswith("offset") else d for name, d in v.items()))
    _, dy = torch.autograd.functional.jvp(function, values, direction)
    (of_x, *of_phi), (d_of_x, *d_of_phi) = torch.autograd.functional.jvp(
        gradients, (g, *values), (dg, *direction)
    )

    ours = layer.backward(g)
    gradient, added = {}, {name: value.clone() for name, value in phi.items()}
    layer.add_gradient(gradient, 1.0)
    layer.add_gradient(added, -0.5)
    close(layer.tangent(dx if moves else None, v), dy)
    d_ours = layer.tangent_backward(dg)
    curved = dict(v)
    layer.add_curvature(curved, -0.5)
    for name, first, second in zip(phi, of_phi, d_of_phi, strict=True):
        close(gradient[name], first)
        close(added[name], phi[name] - 0.5 * first)
        close(curved[name], v[name] - 0.5 * second)
    if moves:
        close(ours, of_x)
        close(d_ours, d_of_x)
    else:
        assert ours is None
        assert d_ours is None


def close(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
