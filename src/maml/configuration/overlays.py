"""Reading ``config.yaml`` and its overlays, and merging them key by key."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from maml.files.errors import UserError


def load(paths: list[Path]) -> dict[str, Any]:
    """Return what ``config.yaml`` and its overlays say together, unchecked.

    Raises:
        UserError: a file cannot be read or is not a mapping.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            layer = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            json.dumps(layer, default=str)  # finds what contains itself, and dates as keys
        except FileNotFoundError as error:
            raise UserError(
                f"there is no configuration {path}: run this in the project's folder, or name the "
                "file with --config"
            ) from error
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the configuration {path} cannot be read: {reason}") from error
        if layer is None:  # nothing but comments
            continue
        if not isinstance(layer, dict):
            raise UserError(f"the configuration {path} is not a mapping of keys to values")
        merged = merge(merged, layer)
    return merged


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``overlay`` merged into it, mapping by mapping, as Snakemake does."""
    merged = copy.deepcopy(dict(base))
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
