"""The formats of data sets, each a module of its own.

Such a module has

- ``HOME`` and ``FILES``: the publisher's page, and its files as :class:`maml.data.remote.Remote`;
- ``LICENCE`` of the images, in words;
- ``prepare(dataset, raw, target)``: write the images of the raw folder to ``target``, an ``.npy``
  of uint8 ``(classes, images, height, width, channels)``; return the classes' names and splits, and
  a dictionary of what was done to the images;
- ``make_up(dataset, folder)``, unless :mod:`maml.data.synthetic` draws its images: write its files
  with made-up content, for tests.
"""

from types import ModuleType

from maml.data import miniimagenet, omniglot

FORMATS: dict[str, ModuleType] = {
    "omniglot": omniglot,
    "miniimagenet": miniimagenet,
}
"""What ``datasets.<name>.format`` may say → its module."""
