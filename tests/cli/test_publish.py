"""The verb publish: what it prints, and what it says without a network."""

import os
import subprocess
import sys

import pytest

from waiting import DEADLINE_S

pytest.importorskip("pyarrow")
pytest.importorskip("huggingface_hub")


def test_publish_from_the_command_line(call, store_path):
    status, words, _ = call("publish", store_path, "me/x", "--variant", "8-box", "--dry-run", "-q")
    assert status == 0
    assert "  data/train-00000-of-00001.parquet: " in words
    assert "/datasets/me/x: 4 files, " in words
    assert words.endswith("would be pushed; to push them, leave out --dry-run\n")
    status, _, words = call("publish", store_path, "me/x", "--dry-run")
    assert status == 1
    assert "choose one, such as --variant 8-box" in words


@pytest.mark.full
@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "you are not logged in to the Hub: run hf auth login"),
        ("hf_x", "could not be published"),
    ],
)
def test_without_a_login_or_a_network_one_sentence(store_path, tmp_path, token, words):
    hub = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": token}
    plain = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    command = [sys.executable, "-m", "lowres", "publish", store_path, "me/x", "--variant", "8-box"]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**plain, **hub},
        timeout=DEADLINE_S,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("lowres: ")
    assert words in run.stderr
    assert "Traceback" not in run.stderr
