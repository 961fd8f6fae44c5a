"""The state store: what is written is what is read, one process trains at a time, no damaged state is used."""

import gc
import hashlib
import io
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_for

from epochwise.common.files import read_json
from epochwise.trajectory import states as states_module
from epochwise.trajectory.identity import trajectory_key
from epochwise.trajectory.states import StateStore, kept_epochs

IDENTITY = {"a": "training"}
spawn = multiprocessing.get_context("spawn")


def variables(epoch: int) -> list[np.ndarray]:
    return [np.full((3, 2), epoch / 3, np.float32), np.array([7, epoch], np.uint32), np.array(epoch, np.int64)]


def rows(epoch: int) -> list[dict]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [{"epoch": number, **dict.fromkeys(names, 1 / 3 + number)} for number in range(1, epoch + 1)]


def fill(states: StateStore, last: int) -> list[Path]:
    for epoch in range(1, last + 1):
        states.write(variables(epoch), rows(epoch), [0.1] * epoch)
    return sorted(states.folder.glob("[0-9]*.npz"))


def newest(states: StateStore, epoch: int) -> int | None:
    with states.turn_to_train(epoch) as state:
        return state and state.epoch


@pytest.fixture
def states(tmp_path) -> StateStore:
    return StateStore(tmp_path, IDENTITY, max_gb=1)


def test_a_state_comes_back_to_the_bit(states):
    fill(states, 3)
    with states.turn_to_train(3) as state:
        for kept, given in zip(state.variables, variables(3), strict=True):
            assert (kept.dtype, kept.shape, kept.tobytes()) == (given.dtype, given.shape, given.tobytes())
        assert (state.epoch, state.history, state.seconds) == (3, rows(3), [0.1] * 3)
        assert [type(value) for value in state.history[0].values()] == [int, float, float, float, float]
    assert newest(states, 2) == 2
    assert newest(states, 9) == 3


@pytest.fixture
def listed(monkeypatch) -> list[Path]:
    """The folders that `kept_epochs` lists, however busy the machine is."""
    folders: list[Path] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: folders.append(path) or real(path))
    monkeypatch.setattr(states_module, "CLOCK_TICK", 1e6)
    monkeypatch.setattr(states_module, "LISTED_FOR", 1e6)
    return folders


def test_a_folder_is_listed_again_as_soon_as_it_has_changed(states, tmp_path, listed):
    key = states.folder.name
    _, second = fill(states, 2)
    assert kept_epochs(tmp_path, key) == kept_epochs(tmp_path, key) == [1, 2]
    assert len(listed) == 2, "it has changed just now: another change may leave the same time"
    os.utime(states.folder, (1e9, 1e9))
    assert kept_epochs(tmp_path, key) == kept_epochs(tmp_path, key) == [1, 2] and len(listed) == 3
    second.unlink()
    assert kept_epochs(tmp_path, key) == [1] and len(listed) == 4
    assert kept_epochs(tmp_path, "another key") == []


def test_a_folder_whose_time_of_change_stays_is_listed_again_after_some_time(states, tmp_path, listed, monkeypatch):
    """As some network file systems leave it, or a file server with another clock."""
    key, (_, second) = states.folder.name, fill(states, 2)
    os.utime(states.folder, (1e9, 1e9))
    assert kept_epochs(tmp_path, key) == [1, 2]
    second.unlink()
    os.utime(states.folder, (1e9, 1e9))
    assert kept_epochs(tmp_path, key) == [1, 2]
    monkeypatch.setattr(states_module, "LISTED_FOR", -1.0)
    assert kept_epochs(tmp_path, key) == [1]


def test_another_training_has_states_of_its_own(states, tmp_path):
    fill(states, 2)
    assert newest(StateStore(tmp_path, {"another": "training"}, max_gb=1), 2) is None
    assert trajectory_key(read_json(states.folder / "identity.json")) == states.folder.name


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_state_is_named_and_the_one_before_it_used(states, capsys, damage):
    draw = random.Random(0)
    for path, epoch in zip(reversed(fill(states, 5)), range(5, 0, -1), strict=True):
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes({"flip": content, "cut": content[:-1], "empty": b""}[damage])
        assert newest(states, 5) == (epoch - 1 or None)
        assert f"warning: {path}: damaged" in capsys.readouterr().err
    assert fill(states, 1)


def test_a_state_under_another_epochs_name_is_not_taken_for_it(states, capsys):
    first, second = fill(states, 2)
    second.rename(second.with_name(second.name.replace("00002", "00004")))
    assert newest(states, 4) == 1
    assert "damaged" in capsys.readouterr().err


def test_what_a_dying_process_half_wrote_is_cleared_away_in_time(states, tmp_path):
    fill(states, 1)
    torn, live = (states.folder / f".{pid}.00002-abc.npz" for pid in (1, 2))
    torn.write_bytes(b"half")
    live.write_bytes(b"half")
    os.utime(torn, (1, 1))
    fill(StateStore(tmp_path, {"another": "training"}, max_gb=1), 1)
    assert newest(states, 2) == 1
    assert (torn.exists(), live.exists()) == (False, True)


def test_what_is_no_state_is_left_alone_or_removed(states, capsys):
    content = io.BytesIO()
    np.savez(content, other=np.zeros(1))
    fill(states, 1)
    (states.folder / "00002 copy.npz").write_bytes(b"")
    foreign = states.folder / f"00003-{hashlib.sha256(content.getvalue()).hexdigest()}.npz"
    foreign.write_bytes(content.getvalue())
    assert newest(states, 9) == 1
    assert f"{foreign}: damaged" in capsys.readouterr().err


def test_the_store_stays_within_its_size_and_keeps_what_was_used_last(tmp_path, capsys):
    one = fill(StateStore(tmp_path, {"number": 0}, max_gb=1), 1)[0].stat().st_size
    kept = StateStore(tmp_path, {"number": 1}, max_gb=1)
    for age, path in enumerate(fill(kept, 3)):
        os.utime(path, (age, age))
    assert newest(kept, 1) == 1
    fill(StateStore(tmp_path, {"number": 2}, max_gb=4.5 * one / 1e9), 1)
    assert capsys.readouterr().out == f"{one / 1e6:.1f} MB of {tmp_path.name} removed to stay within " + (
        f"trajectories.max_gb={4.5 * one / 1e9:g}\n"
    )
    found = sorted(int(path.name[:5]) for path in kept.folder.glob("[0-9]*.npz"))
    assert found == [1, 3]  # 2 was used longest ago
    fill(StateStore(tmp_path, {"number": 3}, max_gb=0), 1)
    assert not list(tmp_path.glob("*/[0-9]*.npz"))


def views() -> int:
    return sum(isinstance(thing, memoryview) for thing in gc.get_objects())


def test_a_disk_that_refuses_a_state_costs_a_warning(states, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    gc.collect()
    gc.disable()
    before = views()
    states.write(variables(1), rows(1), [0.1])
    kept = views() - before
    gc.enable()
    assert not kept  # once collected, a BytesIO that is lent to one crashes Python 3.12
    assert "epoch 1 is not kept ([Errno 28] No space left on device)" in capsys.readouterr().err
    assert newest(states, 1) is None


def work(store: Path, last: int, until: Path | None = None, max_gb: float = 1) -> None:
    """Train up to `last` as train does, an epoch being a moment's sleep; before each one after 2 wait for `until`."""
    states = StateStore(store, IDENTITY, max_gb)
    with states.turn_to_train(last) as state:
        for epoch in range(state.epoch + 1 if state else 1, last + 1):
            while until and epoch > 2 and not until.exists():
                time.sleep(0.01)
            time.sleep(0.05)
            with (store / "log").open("a") as lines:
                lines.write(f"{epoch}\n")
            states.write(variables(epoch), rows(epoch), [0.1] * epoch)
    (store / f"got-{last}").touch()


def start(*arguments) -> multiprocessing.Process:
    process = spawn.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def join(*processes: multiprocessing.Process) -> None:
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def state(store: Path, pattern: str) -> Path:
    """The state whose path has this pattern, once there is one."""
    return next(iter(wait_for(lambda: list(store.glob(pattern)))))


def trained_epochs(store: Path) -> list[int]:
    return [int(line) for line in (store / "log").read_text().split()]


@pytest.mark.parametrize("lasts", [(3, 5), (6, 2, 4, 5)])
def test_processes_at_once_train_no_epoch_twice(tmp_path, lasts):
    join(*[start(tmp_path, last) for last in lasts])
    assert trained_epochs(tmp_path) == list(range(1, max(lasts) + 1))


def test_who_wants_less_does_not_wait_for_who_trains_more(tmp_path):
    """The longer training halts after epoch 2 until the shorter one has what it wants, else both wait for ever."""
    longer = start(tmp_path, 6, tmp_path / "got-2")
    state(tmp_path, "*/00001-*.npz")
    join(start(tmp_path, 2), longer)
    assert trained_epochs(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_who_wants_what_is_not_kept_any_more_does_not_wait_for_it(tmp_path):
    """The longer training halts after epoch 2, and epoch 1 has made room: who wants it trains it."""
    longer = start(tmp_path, 6, tmp_path / "got-1")
    state(tmp_path, "*/00002-*.npz")
    state(tmp_path, "*/00001-*.npz").unlink()
    join(start(tmp_path, 1), longer)
    assert trained_epochs(tmp_path) == [1, 2, 1, 3, 4, 5, 6]


def test_a_killed_process_leaves_its_turn_and_its_states(tmp_path):
    killed = start(tmp_path, 6, tmp_path / "never")
    state(tmp_path, "*/00002-*.npz")
    waiting = start(tmp_path, 4)
    os.kill(killed.pid, signal.SIGKILL)
    join(waiting)
    assert trained_epochs(tmp_path) == [1, 2, 3, 4]


def test_a_store_that_cannot_be_written_costs_warnings(tmp_path, capsys):
    (tmp_path / "store").touch()
    states = StateStore(tmp_path / "store", IDENTITY, max_gb=1)
    with states.turn_to_train(2) as state:
        assert state is None
        states.write(variables(1), rows(1), [0.1])
    printed = capsys.readouterr().err
    assert "no lock" in printed and "epoch 1 is not kept" in printed
