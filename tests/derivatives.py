"""A layer's functions beside what autograd makes of the same function, written plainly."""

import torch


def check(layer, plainly, phi, shape, moves=True, still=()):
    """Compare a layer with ``plainly(x, phi)``, which autograd differentiates, in float64.

    Args:
        layer: the layer.
        plainly: the same function of x and the parameters.
        phi: name → parameter of each task.
        shape: of x.
        moves: whether x depends on the parameters; otherwise x are images.
        still: names of parameters that do not move.
    """
    generator = torch.Generator().manual_seed(1)

    def random(shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = 2 + random(shape)
    y, seen = layer.forward(x, phi)
    torch.testing.assert_close(y, plainly(x, phi))
    g, dg, dx, other = random(y.shape), random(y.shape), random(shape), random(y.shape)
    v = {name: random(value.shape) for name, value in phi.items()}
    direction = {name: value for name, value in v.items() if name not in still}

    def function(x, *values):
        return plainly(x, dict(zip(phi, values, strict=True)))

    def gradients(g, *values):
        return torch.autograd.functional.vjp(function, values, g, create_graph=True)[1]

    values = (x, *phi.values())
    moved = (dx if moves else 0 * dx, *(direction.get(name, 0 * v[name]) for name in phi))
    _, dy = torch.autograd.functional.jvp(function, values, moved)
    (of_x, *of_phi), (d_of_x, *d_of_phi) = torch.autograd.functional.jvp(
        gradients, (g, *values), (dg, *moved)
    )

    ours, back = layer.backward(seen, g, wanted=moves)
    layer.backward(seen, other, wanted=moves)  # what else is asked of a record does not matter
    d_y, along = layer.tangent(back, dx if moves else None, direction)
    layer.tangent(back, other_like(dx, generator) if moves else None, {})
    d_ours, curved = layer.tangent_backward(along, dg)
    layer.tangent_backward(along, other)
    close(d_y, dy)
    gradient = layer.add_gradient(back, dict.fromkeys(phi), 1.0)
    added = layer.add_gradient(back, phi, -0.5)
    curvature = layer.add_curvature(curved, dict.fromkeys(phi), -0.5)
    with_curvature = layer.add_curvature(curved, v, -0.5)
    for name, first, second in zip(phi, of_phi, d_of_phi, strict=True):
        close(gradient[name], first)
        close(added[name], phi[name] - 0.5 * first)
        close(curvature[name], -0.5 * second)
        close(with_curvature[name], v[name] - 0.5 * second)
    assert not layer.add_gradient(back, {}, 1.0)
    assert not layer.add_curvature(curved, {}, 1.0)
    assert set(layer.parameters) == set(phi)
    if moves:
        close(ours, of_x)
        close(d_ours, d_of_x)


def other_like(value, generator):
    return torch.randn(value.shape, generator=generator, dtype=value.dtype)


def close(ours, expected):
    if ours is None:  # stands still
        assert not expected.any()
    else:
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
