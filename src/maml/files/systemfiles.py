"""Files that a system leaves in folders by itself: they are nobody's data."""

import re

_NAMES = re.compile(
    r"\.DS_Store|\._.*|\.localized|\.Spotlight-V100|\.Trashes|\.fseventsd|__MACOSX"  # macOS
    r"|Thumbs\.db|ehthumbs\.db|desktop\.ini"  # Windows
    r"|\.nfs[0-9a-f]+|@eaDir|\.directory|\.Trash-\d+",  # NFS, Synology, KDE, Linux desktops
    re.IGNORECASE,
)


def is_system_file(name: str) -> bool:
    """Return whether a file or folder of this name was left by a system or a file manager."""
    return _NAMES.fullmatch(name) is not None
