"""What `course.py check` says of a machine, the day before a workshop."""

from types import SimpleNamespace

from lrcourse import machine


def test_check_the_day_before(monkeypatch, capsys):
    monkeypatch.setattr(machine, "problems", list)
    monkeypatch.setattr(machine, "pace", lambda: 2.0)
    assert machine.main() == 0
    said = capsys.readouterr().out
    assert "may take about 90 s here" in said and "slow" not in said
    monkeypatch.setattr(machine, "pace", lambda: 10.0)
    assert machine.main() == 0
    assert "That is slow." in capsys.readouterr().out

    monkeypatch.undo()
    small = SimpleNamespace(available=2**29, total=2**31, free=2**29)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: small)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: small)
    assert machine.main() == 1
    said = capsys.readouterr().out
    assert "✘ Only 0.5 GiB of memory are free" in said and "Close other programs" in said
    assert "✘ Only 0.5 GiB of disk are free" in said and "not run here yet" in said


def test_the_machine_is_judged_in_words(monkeypatch):
    from importlib import metadata

    needs = ["torch>=99", "numpy>=2,<3", "no-such-package>1", 'other; sys_platform == "none"']
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    monkeypatch.setattr(metadata, "metadata", lambda name: {"Requires-Python": ">=3.99"})
    monkeypatch.setattr(machine, "MEMORY", 1e9)
    found = machine.problems()
    assert [text.split()[0] for text in found] == ["Python", "torch", "The", "Only"]
    assert "Run: python3 course.py lab" in found[2]

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert "not installed" in machine.problems()[0]
