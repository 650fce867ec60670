"""A published file: where it lies, and how to tell that it arrived whole."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes:
        url: where; its last part is the file's name.
        size: in bytes, if known.
        checksum: ``sha256:…`` or ``md5:…``, if known. Only then can a transfer be resumed.
    """

    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]
