"""Reading ``config.yaml`` and its overlays, and merging them key by key."""

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from maml.configuration.unambiguous import parse
from maml.files.errors import UserError


def load(paths: list[Path]) -> dict[str, Any]:
    """Return what ``config.yaml`` and its overlays say together, unchecked.

    Raises:
        UserError: a file cannot be read or is not a mapping.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            layer = parse(Path(path).read_text(encoding="utf-8"))
            json.dumps(layer, default=str)  # finds what contains itself, and dates as keys
        except FileNotFoundError as error:
            raise UserError(
                f"there is no configuration {path}: run this in the project's folder, or name the "
                "file with --config"
            ) from error
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            raise UserError(f"the configuration {path} cannot be read: {_reason(error)}") from error
        if layer is None:  # nothing but comments
            continue
        if not isinstance(layer, dict):
            raise UserError(f"the configuration {path} is not a mapping of keys to values")
        merged = merge(merged, layer)
    return merged


def with_values(config: Mapping[str, Any], entries: Iterable[str]) -> dict[str, Any]:
    """Return a configuration with values merged into it: `key=value`, as Snakemake's --config has.

    Raises:
        UserError: a value is no YAML.
    """
    merged = dict(config)
    for entry in entries:
        key, _, value = entry.partition("=")
        try:
            merged = merge(merged, {key: parse(value)})
        except yaml.YAMLError as error:
            raise UserError(f"--config {key}: {_reason(error)}") from error
    return merged


def _reason(error: Exception) -> str:
    """Return in one line why a text cannot be read, and where."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    words = [error.context, error.problem]
    return f"line {error.problem_mark.line + 1}: {', '.join(filter(None, words))}"


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``overlay`` merged into it, mapping by mapping, as Snakemake does."""
    merged = copy.deepcopy(dict(base))
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
