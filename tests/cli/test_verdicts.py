"""The verbs decide and study --until-told, with made-up training."""

from made_runs import MadeUp

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)


def test_the_verbs_decide_and_study_until_it_is_sure(call, store_path, tmp_path, monkeypatch):
    executor = MadeUp(noise=0.03, moved=0.3)  # so noisy that no answer is sure
    for module in ("studies", "verdicts"):
        monkeypatch.setattr(f"lowres.cli.{module}.make_executor", lambda *_: executor)
    path = tmp_path / "study"
    rates = ",".join(map(str, RATES))
    flags = [
        *("--axis", "size=8,16", "--axis", f"lr={rates}", "--width", "1", "--epochs", "1"),
        *("--batch-size", "8"),
    ]
    ended, text, _ = call("study", store_path, *flags, "--out", path, "--until-told", "--quiet")
    assert "after 5 runs of size=16: " in text
    assert ended == ("The answer is not sure" in text)
    assert "with several values are size, lr, epochs\n" in call("judge", path)[2]
    planned = len(executor.trained)
    ended, text, _ = call("decide", path, "--dry-run", "--bearable", "0")
    assert ended == 0
    assert "the next round is 2 runs, about 2 s of training" in text
    assert "chance of a sure answer, by the number of further runs: 6: 0." in text
    assert len(executor.trained) == planned
    _, text, _ = call("decide", path, "--dry-run", "--bearable", "0", "--at-most", "0")
    assert "no further run would be trained: --at-most allows none" in text
    ended, text, _ = call("decide", path, "--bearable", "0", "--at-most", "2", "--quiet")
    assert ("--bearable 0 --at-most 4" in text) == ended
    assert planned <= len(executor.trained) <= planned + 2
    assert "The answer is" in text
    wrong = call("study", store_path, *flags, "--out", path, "--until-told", "--dry-run")
    assert wrong[0] == 1
    assert "--until-told trains" in wrong[2]


def test_what_can_never_be_sure_is_said_before_training_or_at_once(
    call, store_path, tmp_path, monkeypatch
):
    executor = MadeUp(noise=0.03)
    for module in ("studies", "verdicts"):
        monkeypatch.setattr(f"lowres.cli.{module}.make_executor", lambda *_: executor)
    flags = ("--width", "1", "--epochs", "1", "--batch-size", "8", "--quiet", "--until-told")
    flags += ("--axis", "lr=0.01,0.1")
    one = call("study", store_path, *flags, "--variant", "8-box", "--out", tmp_path / "one")
    assert one[0] == 1
    assert "has runs of one size, 8 px: name two sides" in one[2]
    assert not executor.trained
    few = call("study", store_path, *flags, "--axis", "size=8,16", "--out", tmp_path / "few")
    assert few[0] == 1
    assert "No answer is sure with fewer than 5 configurations" in few[1]
    assert len(executor.trained) == 4
    status, text, _ = call("decide", tmp_path / "few", "--dry-run")
    assert status == 0
    assert "no further run would be trained: too few configurations" in text
