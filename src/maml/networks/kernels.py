"""Batch norm, ReLU and max pooling in kernels of Triton; :mod:`maml.networks.fused` is the layer.

A function of the layer is two kernels. The first adds up, part by part of a task's cells, what the
second needs, which puts the parts together and computes the result. What makes a part depends on
the shape alone, and no sum on who comes first: the same bits come out each time.

A cell is what a value of y is made of: with pooling 2x2 pixels, else one. At the far side of odd
images cells have fewer pixels, and no value. A program computes some channels of a part's cells,
tile by tile.

The formulas are those of :mod:`maml.networks.normalisation`. At a cell's chosen pixel x̂ is y − β
where y > 0. What is not positive is told by ``y <= 0``, so that a NaN goes on as one.
"""

from typing import NamedTuple

import triton
import triton.language as tl

PARTS = tl.constexpr(64)
"""The most parts of a task's cells; a power of 2."""


class Size(NamedTuple):
    """How many there are, and how far apart they lie in memory."""

    n: int  # pixels that share statistics
    cells: int
    of_part: int  # cells
    height: int
    width: int
    channels: int
    x_task: int  # values from a task of x to the next
    y_task: int
    of_pixel: int  # values from a pixel to the next
    tile_cells: tl.constexpr
    tile_channels: tl.constexpr
    pixels: tl.constexpr  # of a cell
    epsilon: tl.constexpr


@triton.jit
def find_moments(x, kept, size):
    """Keep number, mean and sum of squared deviations of each part's pixels.

    By the formulas of Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for
    computing sample variances".
    """
    task, start, end = _program(size)
    zero = _zeros(x, size)
    number, mean = tl.full((1,), 0, zero.dtype), tl.full((size.tile_channels,), 0, zero.dtype)
    squares = mean
    for begin in range(start, end, size.tile_cells):
        in_x, _, tall, wide, _ = _cells(begin, size)
        total, spread = zero, zero
        for k in tl.static_range(size.pixels):
            place, there = _pixel(in_x, tall, wide, k, size)
            total += _read(x, place, there, size)
        here = tl.sum(tall * wide, 0).to(zero.dtype)
        centre = tl.sum(total, 0) / here
        for k in tl.static_range(size.pixels):
            place, there = _pixel(in_x, tall, wide, k, size)
            away = _read(x, place, there, size) - centre
            spread += tl.where(there, away * away, 0)
        shift, both = centre - mean, number + here
        mean += shift * (here / both)
        squares += tl.sum(spread, 0) + shift * shift * (number * here / both)
        number = both
    _keep(kept, 3 * task, number, size)
    _keep(kept, 3 * task + 1, mean, size)
    _keep(kept, 3 * task + 2, squares, size)


@triton.jit
def normalise(x, kept, offset, statistics, y, size):
    """Write mean, r and β of each task, and y."""
    task, start, end = _program(size)
    numbers, means = _kept(kept, 3 * task, size), _kept(kept, 3 * task + 1, size)
    mean = tl.sum(numbers * means, 0) / size.n
    squares = _kept(kept, 3 * task + 2, size) + numbers * (means - mean) * (means - mean)
    r = tl.rsqrt(tl.sum(squares, 0) / size.n + size.epsilon)
    beta = _row(offset, task, size)
    if tl.program_id(0) == 0:
        _put(statistics, 3 * task, mean, size)
        _put(statistics, 3 * task + 1, r, size)
        _put(statistics, 3 * task + 2, beta, size)
    for begin in range(start, end, size.tile_cells):
        in_x, in_y, _, _, whole = _cells(begin, size)
        largest, _ = _choice(x, in_x, whole, size)
        value = (largest - mean) * r + beta
        _write(y, in_y, tl.where(value <= 0, 0, value), whole, size)


@triton.jit
def sum_gradient(g, y, statistics, kept, size):
    """Keep Σg and Σgx̂ of each part."""
    task, start, end = _program(size)
    beta = _row(statistics, 3 * task + 2, size)
    of_g, of_gx = _zeros(y, size), _zeros(y, size)
    for begin in range(start, end, size.tile_cells):
        _, in_y, _, _, whole = _cells(begin, size)
        value = _read(y, in_y, whole, size)
        gradient = tl.where(value <= 0, 0, _read(g, in_y, whole, size))
        of_g += gradient
        of_gx += gradient * (value - beta)
    _keep(kept, 2 * task, tl.sum(of_g, 0), size)
    _keep(kept, 2 * task + 1, tl.sum(of_gx, 0), size)


@triton.jit
def sum_tangent(dx, x, g, y, statistics, dchosen, kept, size):
    """Keep Σẋ, Σẋx̂ and, of chosen pixels, Σgẋ of each part; with pooling, write ẋ of these."""
    task, start, end = _program(size)
    mean, r = _row(statistics, 3 * task, size), _row(statistics, 3 * task + 1, size)
    zero = _zeros(x, size)
    of_dx, of_dxx, of_gdx = zero, zero, zero
    for begin in range(start, end, size.tile_cells):
        in_x, in_y, tall, wide, whole = _cells(begin, size)
        _, chosen = _choice(x, in_x, whole, size)
        of_chosen = zero
        for k in tl.static_range(size.pixels):
            place, there = _pixel(in_x, tall, wide, k, size)
            moved = _read(dx, place, there, size)
            of_dx += moved
            of_dxx += moved * (_read(x, place, there, size) - mean)
            of_chosen = tl.where(chosen == k, moved, of_chosen)
        value = _read(y, in_y, whole, size)
        of_gdx += tl.where(value <= 0, 0, _read(g, in_y, whole, size) * of_chosen)
        if size.pixels > 1:
            _write(dchosen, in_y, of_chosen, whole, size)
    _keep(kept, 3 * task, tl.sum(of_dx, 0), size)
    _keep(kept, 3 * task + 1, tl.sum(of_dxx, 0) * r, size)
    _keep(kept, 3 * task + 2, tl.sum(of_gdx, 0), size)


@triton.jit
def move_output(y, statistics, dchosen, of_dx, doffset, dy, size):
    """Write ẏ. What does not move is None: ẋ of chosen pixels, with its sums, or β."""
    task, start, end = _program(size)
    r = _row(statistics, 3 * task + 1, size)
    beta = _row(statistics, 3 * task + 2, size)
    zero = _zeros(y, size)
    if dchosen is not None:
        mean_dx = _total(of_dx, 3 * task, size) / size.n
        mean_dxx = _total(of_dx, 3 * task + 1, size) / size.n
    if doffset is not None:
        dbeta = _row(doffset, task, size)
    for begin in range(start, end, size.tile_cells):
        _, in_y, _, _, whole = _cells(begin, size)
        value, moved = _read(y, in_y, whole, size), zero
        if dchosen is not None:
            moved += r * (_read(dchosen, in_y, whole, size) - mean_dx - (value - beta) * mean_dxx)
        if doffset is not None:
            moved += dbeta
        _write(dy, in_y, tl.where(value <= 0, 0, moved), whole, size)


@triton.jit
def move_input(p, of_p, x, y, statistics, dx, of_dx, g, of_g, grad_x, size):
    """Write ∂L/∂x, where p is g; or its derivative, where p is ġ. If x stands still, dx is None."""
    task, start, end = _program(size)
    mean, r = _row(statistics, 3 * task, size), _row(statistics, 3 * task + 1, size)
    scale = r * r / size.n
    shift = -r * _total(of_p, 2 * task, size) / size.n
    slope = -scale * _total(of_p, 2 * task + 1, size)
    if dx is not None:
        sum_g, sum_gx = _total(of_g, 2 * task, size), _total(of_g, 2 * task + 1, size)
        sum_dx, sum_dxx = _total(of_dx, 3 * task, size), _total(of_dx, 3 * task + 1, size)
        sum_gdx = _total(of_dx, 3 * task + 2, size)
        slope += r * scale * ((3 * sum_dxx * sum_gx + sum_dx * sum_g) / size.n - sum_gdx)
        shift += scale * (sum_dx * sum_gx + sum_dxx * sum_g) / size.n
        by_dx, by_g = -scale * sum_gx, -scale * sum_dxx
    for begin in range(start, end, size.tile_cells):
        in_x, in_y, tall, wide, whole = _cells(begin, size)
        _, chosen = _choice(x, in_x, whole, size)
        added = r * _read(p, in_y, whole, size)
        if dx is not None:
            added += by_g * _read(g, in_y, whole, size)
        added = tl.where(_read(y, in_y, whole, size) <= 0, 0, added)
        for k in tl.static_range(size.pixels):
            place, there = _pixel(in_x, tall, wide, k, size)
            result = shift + slope * (_read(x, place, there, size) - mean)
            result += tl.where(chosen == k, added, 0)
            if dx is not None:
                result += by_dx * _read(dx, place, there, size)
            _write(grad_x, place, result, there, size)


@triton.jit
def _program(size):
    """Return a program's task, and where its cells begin and end."""
    start = tl.program_id(0) * size.of_part
    return tl.program_id(2), start, tl.minimum(start + size.of_part, size.cells)


@triton.jit
def _cells(begin, size):
    """Return of a tile's cells where pixels and y begin, height and width, and if there is y."""
    cell, task = begin + tl.arange(0, size.tile_cells)[:, None], tl.program_id(2).to(tl.int64)
    first, value, tall = cell, cell, (cell < size.cells).to(tl.int32)
    wide = tall
    if size.pixels > 1:
        rows, columns = (size.height + 1) // 2, (size.width + 1) // 2
        image, i, j = cell // (rows * columns), cell // columns % rows, cell % columns
        first = (image * size.height + 2 * i) * size.width + 2 * j
        value = (image * (size.height // 2) + i) * (size.width // 2) + j
        tall *= tl.minimum(size.height - 2 * i, 2)
        wide *= tl.minimum(size.width - 2 * j, 2)
    in_x = task * size.x_task + first.to(tl.int64) * size.of_pixel
    in_y = task * size.y_task + value.to(tl.int64) * size.of_pixel
    return in_x, in_y, tall, wide, tall * wide == size.pixels


@triton.jit
def _pixel(in_x, tall, wide, k, size):
    """Return where a pixel of each cell lies, and whether there is one."""
    place = in_x + ((k // 2) * size.width + k % 2) * size.of_pixel
    return place, (k // 2 < tall) & (k % 2 < wide)


@triton.jit
def _choice(x, in_x, whole, size):
    """Return the largest value of whole cells and its pixel: of equal ones the first."""
    largest = _read(x, in_x, whole, size)
    chosen = tl.full(largest.shape, 0, tl.int32)
    for k in tl.static_range(1, size.pixels):
        place, _ = _pixel(in_x, 2, 2, k, size)
        value = _read(x, place, whole, size)
        chosen = tl.where(value > largest, k, chosen)
        largest = tl.where(value > largest, value, largest)
    return largest, chosen


@triton.jit
def _read(values, place, there, size):
    """Return a program's channels of values, 0 where there is none."""
    channel = tl.program_id(1) * size.tile_channels + tl.arange(0, size.tile_channels)
    return tl.load(values + place + channel, mask=there & (channel < size.channels), other=0)


@triton.jit
def _write(values, place, value, there, size):
    """Write a program's channels of values, where there is one."""
    channel = tl.program_id(1) * size.tile_channels + tl.arange(0, size.tile_channels)
    tl.store(values + place + channel, value, mask=there & (channel < size.channels))


@triton.jit
def _row(rows, number, size):
    """Return a program's channels of one of some rows of channels."""
    channel = tl.program_id(1) * size.tile_channels + tl.arange(0, size.tile_channels)
    return tl.load(rows + number * size.channels + channel, mask=channel < size.channels, other=0)


@triton.jit
def _put(rows, number, value, size):
    """Write a program's channels of a row."""
    channel = tl.program_id(1) * size.tile_channels + tl.arange(0, size.tile_channels)
    tl.store(rows + number * size.channels + channel, value, mask=channel < size.channels)


@triton.jit
def _keep(kept, number, value, size):
    """Keep what was found in this part; ``kept`` has a row for each part of each number."""
    _put(kept, number * tl.num_programs(0) + tl.program_id(0), value, size)


@triton.jit
def _kept(kept, number, size):
    """Return what was kept of each part, 0 beyond the last."""
    part, parts = tl.arange(0, PARTS)[:, None], tl.num_programs(0)
    return _read(kept, (number * parts + part) * size.channels, part < parts, size)


@triton.jit
def _total(kept, number, size):
    """Return the sum of what was kept of the parts."""
    return tl.sum(_kept(kept, number, size), 0)


@triton.jit
def _zeros(values, size):
    """Return zeros for a tile."""
    return tl.full((size.tile_cells, size.tile_channels), 0, values.dtype.element_ty)
