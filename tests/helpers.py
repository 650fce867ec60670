"""What several tests need."""

import io
import json
import stat
import tarfile
import zipfile
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


def pack(path, members, kinds=None):
    """Write an archive of (name, content) pairs; kinds: name → tarfile type."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                mode = stat.S_IFLNK if name in (kinds or {}) else stat.S_IFREG
                info.external_attr = (mode | 0o644) << 16
                archive.writestr(info, content)
    else:
        compression = path.suffix[1:] if path.suffix in (".xz", ".gz") else ""
        with tarfile.open(path, f"w:{compression}") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                if name in (kinds or {}):
                    info.type, info.linkname = kinds[name], "/etc/passwd"
                else:
                    info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def rewrite(archive: Path, change) -> None:
    """Rewrite a zip; change(name, content) returns the new pair, or None to leave it out."""
    with zipfile.ZipFile(archive) as file:
        members = [change(name, file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in filter(None, members):
            file.writestr(name, content)
