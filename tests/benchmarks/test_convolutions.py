import pytest
import torch

from benchmarks.device import convolutions


def test_every_way_is_timed_and_finds_the_same(monkeypatch):
    found = []

    def once(work):
        found.append(work())
        return float(len(found))

    monkeypatch.setattr(convolutions, "milliseconds", once)
    monkeypatch.setattr(convolutions, "TASKS", 2)
    generator = torch.Generator().manual_seed(0)
    images, grad = (
        torch.randn(2, 3, 5, 4, n, generator=generator, dtype=torch.float64) for n in (2, 6)
    )
    kernels = torch.randn(2, 6, 2, 3, 3, generator=generator, dtype=torch.float64)
    names = [name for name, _ in convolutions.ways(images, grad, kernels)]
    assert len(names) == len(set(names)) == 6
    output, of_images, of_tasks, by_image = found[-4:]
    expected = torch.stack(
        [
            torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), w, padding=1)
            for x, w in zip(images, kernels, strict=True)
        ]
    )
    torch.testing.assert_close(output.view(2, 3, 5, 4, 6).permute(0, 1, 4, 2, 3), expected)
    torch.testing.assert_close(of_tasks, by_image)
    leaf = kernels.clone().requires_grad_()
    moving = images.clone().requires_grad_()
    loss = sum(
        (
            torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), w, padding=1) * g.permute(0, 3, 1, 2)
        ).sum()
        for x, w, g in zip(moving, leaf, grad, strict=True)
    )
    loss.backward()
    assert moving.grad.flatten().tolist() == pytest.approx(of_images.flatten().tolist())
    in_order = leaf.grad.permute(0, 1, 3, 4, 2).flatten()
    assert in_order.tolist() == pytest.approx(by_image.flatten().tolist())
