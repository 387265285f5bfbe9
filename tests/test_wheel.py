"""What is shipped: the wheel that pip builds from this tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lowres

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the project is not here")
def test_the_wheel_has_every_module_its_types_and_its_data(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("lowres-*.whl")
    package = Path(lowres.__file__).parent
    files = (path for path in package.rglob("*") if path.is_file())
    expected = {
        f"lowres/{path.relative_to(package).as_posix()}"
        for path in files
        if "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "lowres/py.typed" in names
    assert expected == {name for name in names if name.startswith("lowres/")}
