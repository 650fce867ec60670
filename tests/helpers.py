"""What several tests need."""

import json
from pathlib import Path

from maml.provenance import file_digest

ROOT = Path(__file__).parent.parent


def record(raw: Path) -> Path:
    """Write source.json for the files in a raw folder, whatever they are."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": file_digest(path)}
        for path in raw.iterdir()
        if path.name != "source.json"
    }
    (raw / "source.json").write_text(json.dumps({"source": "drawn for a test", "files": files}))
    return raw
