"""A public data set is fetched once, by whichever fetcher works, and only checked content is kept."""

import hashlib
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from image_files import idx

from epochwise.common import locks
from epochwise.common.errors import InputError
from epochwise.data import downloads
from epochwise.data.downloads import Dataset
from epochwise.data.idx import IDX_FILES
from epochwise.data.images import SourceShape
from epochwise.data.sources import load_images

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 9, 7), dtype=np.uint8)
CONTENTS = {name: idx(PIXELS if "images" in name else np.arange(40) % 4) for name in IDX_FILES}
SHA256 = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS.values())
SHAPE = SourceShape(40, (9, 7, 1), 4, 10)
NAME = "toy"


class Fetchers:
    """Three fetchers, the first two of which fail; `called` lists which were tried."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def flipped(self, scratch: Path) -> Iterator[tuple[str, bytes]]:
        self.called.append("flipped")
        for name, content in CONTENTS.items():
            yield name, content[:-1] + bytes([content[-1] ^ 1])

    def breaks_off(self, scratch: Path) -> Iterator[tuple[str, bytes]]:
        self.called.append("breaks off")
        yield next(iter(CONTENTS.items()))
        raise TimeoutError("the line went dead")

    def good(self, scratch: Path) -> Iterator[tuple[str, bytes]]:
        self.called.append("good")
        yield from CONTENTS.items()


@pytest.fixture
def fetchers(monkeypatch):
    made = Fetchers()
    by_name = {"flipped": made.flipped, "breaks off": made.breaks_off, "good": made.good}
    monkeypatch.setitem(downloads.DATASETS, NAME, Dataset(SHA256, by_name, SHAPE))
    return made


def test_next_fetcher_is_tried_and_only_checked_content_is_kept(fetchers, tmp_path):
    images = load_images(NAME, tmp_path)
    np.testing.assert_array_equal(images.x_train[..., 0], PIXELS)
    assert fetchers.called == ["flipped", "breaks off", "good"]
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == sorted([".lock", *IDX_FILES])


def test_cache_is_used_until_a_byte_of_it_changes(fetchers, tmp_path):
    load_images(NAME, tmp_path)
    load_images(NAME, tmp_path)
    assert fetchers.called.count("good") == 1
    damaged = tmp_path / NAME / IDX_FILES[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    load_images(NAME, tmp_path)
    assert fetchers.called.count("good") == 2


def test_if_all_fetchers_fail_their_reasons_are_given_and_nothing_is_kept(fetchers, tmp_path):
    del downloads.DATASETS[NAME].fetchers["good"]
    with pytest.raises(InputError) as refused:
        load_images(NAME, tmp_path)
    message = str(refused.value)
    assert "flipped" in message and "sha256" in message
    assert "breaks off" in message and "the line went dead" in message
    assert str(tmp_path / NAME) in message and "\n" not in message
    assert [path.name for path in (tmp_path / NAME).iterdir()] == [".lock"]


def test_processes_that_ask_at_once_fetch_once(tmp_path):
    """Four processes, one cache: one of them fetches, and all read the same images."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        sums = pool.map(_load_and_log_fetches, [tmp_path] * 4)
    assert len(set(sums)) == 1
    assert (tmp_path / "fetched").read_text() == "x"


def test_who_waits_for_another_process_uses_what_that_has_fetched(fetchers, tmp_path, monkeypatch):
    """The files are put there while the lock is held, so any fetch would be one that did not wait."""
    waiting = threading.Event()
    acquire = locks.acquire
    (tmp_path / NAME).mkdir()

    def announce(lock, seconds=-1):
        waiting.set()
        acquire(lock, seconds)

    with ThreadPoolExecutor(1) as threads:
        with locks.locked(tmp_path / NAME / ".lock"):
            monkeypatch.setattr(locks, "acquire", announce)
            loading = threads.submit(load_images, NAME, tmp_path)
            assert waiting.wait(60), "the fetch is under the lock"
            for name, content in CONTENTS.items():
                (tmp_path / NAME / name).write_bytes(content)
        images = loading.result(60)
    np.testing.assert_array_equal(images.x_train[..., 0], PIXELS)
    assert fetchers.called == []


def _load_and_log_fetches(folder: Path) -> int:
    def fetch(scratch: Path) -> Iterator[tuple[str, bytes]]:
        with (folder / "fetched").open("a") as log:
            log.write("x")
        return iter(CONTENTS.items())

    downloads.DATASETS[NAME] = Dataset(SHA256, {"logs": fetch}, SHAPE)
    return int(load_images(NAME, folder).x_train.sum())
