"""Archives for tests."""

import io
import tarfile
import zipfile
from pathlib import Path


class Pipe:
    """A file without positions: sizes and checksums of a zip then come after the data."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Write an archive of the form that the name of the path means."""
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path
    method = zipfile.ZIP_DEFLATED if "deflated" in path.name else zipfile.ZIP_STORED
    with path.open("wb") as file:
        target = Pipe(file) if "streamed" in path.name else file
        with zipfile.ZipFile(target, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    return path
