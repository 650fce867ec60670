"""The published files of every format, and where their publishers are."""

from maml.data.formats import FORMATS
from maml.data.remote import Remote

HOMES: dict[str, str] = {name: reader.HOME for name, reader in FORMATS.items()}
"""Format of the data set → its page."""

FILES: dict[str, list[Remote]] = {name: list(reader.FILES) for name, reader in FORMATS.items()}
"""Format of the data set → its files."""
