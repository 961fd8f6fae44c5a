"""README and docs: every command is typed in a project, and what they name, link and state is true."""

import json
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import ROOT, Project
from PIL import Image

PAGES = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
TEXTS = {name: path.read_text() for name, path in PAGES.items()}
SHORTER = {"conf/sweep/grid.yaml": ("2,4,6,8,10,12", "1,2"), "conf/sweep/seeds.yaml": ("0,1,2,3,4", "0,1")}
COMPOSED_ONLY = {"experiment=writeup", "experiment=fast"}  # the one takes minutes, the other fetches MNIST
TYPED_OFTEN = ("README.md",)  # whose commands `.ci/run` types, too
MOST_LINES = 170, 155  # of README, of any other page
LARGEST_PICTURE = 300_000  # bytes


def commands(text: str) -> list[str]:
    """Every line of a page's shell blocks, without its comment; what `&&` joins is apart."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]
    return [command.strip() for words in lines for command in shlex.join(words).split("'&&'")]


def unquoted(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", unquoted(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(name, marks=pytest.mark.slow if name in TYPED_OFTEN else pytest.mark.long)
        for name, text in TEXTS.items()
        if commands(text)
    ],
)
def test_every_command_works(reproduced, tmp_path, page):
    """As after `make repro`. A page's commands are typed one after the other, as in one shell."""
    project = Project(shutil.copytree(reproduced.path, tmp_path / "project", symlinks=True))
    for name, (old, new) in SHORTER.items():
        project.edit(name, old, new)
    write_a_users_files(project.path)
    run_id = json.loads((project.path / "models/run.json").read_text())["run_id"]
    server = f"sqlite:///{tmp_path}/server.db"
    environment: dict[str, str] = {}
    for command in commands(TEXTS[page]):
        typed = command.replace("RUN_ID", run_id).replace("https://mlflow.example.org", server)
        words = shlex.split(typed)
        if words[0] == "cd":
            project = Project((project.path / words[1]).resolve())
        elif words[0] == "export":
            environment |= dict([words[1].split("=", 1)])
        elif words[0] == "make":
            project.ok("make", "--dry-run", *words[1:])
        elif words[0] != "source":
            project.ok(*words, *(["--cfg", "job"] if COMPOSED_ONLY & set(words) else []), **environment)


def write_a_users_files(folder: Path) -> None:
    """The data sets and the picture that pages name as the reader's own."""
    images = np.random.default_rng(0).integers(0, 256, (650, 8, 8), np.uint8)
    labels = np.arange(650) % 4
    np.savez(
        folder / "my_data.npz", x_train=images[:600], y_train=labels[:600], x_test=images[600:], y_test=labels[600:]
    )
    rows = np.column_stack([labels, images.reshape(650, -1)])
    header = ",".join(["label", *(f"pixel{number}" for number in range(64))])
    np.savetxt(folder / "my_table.csv", rows, "%d", delimiter=",", header=header, comments="")
    for number in range(200):
        path = folder / "my_pictures" / ("train" if number < 160 else "test") / f"kind {number % 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number]).save(path)
    Image.fromarray(images[0]).resize((64, 64)).save(folder / "my_digit.png")


def test_set_up_is_two_commands():
    assert commands(TEXTS["README.md"])[:2] == ["make repro", "make test"]


def test_pages_can_be_read_in_one_go():
    for name, text in TEXTS.items():
        assert len(text.splitlines()) <= MOST_LINES[name != "README.md"], name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", unquoted(TEXTS[page])):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_readme_links_to_every_page_and_every_picture_is_shown():
    shown = {
        (PAGES[name].parent / link).resolve()
        for name, text in TEXTS.items()
        for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text)
    }
    assert shown == set(ROOT.glob("docs/*.png"))
    for picture in shown:
        assert picture.stat().st_size <= LARGEST_PICTURE, picture
    for name in PAGES:
        assert name == "README.md" or f"]({name}" in TEXTS["README.md"], name


@pytest.mark.parametrize("page", PAGES)
def test_files_and_targets_that_are_named_exist(page):
    text = TEXTS[page]
    for named in re.findall(r"`(?:python )?((?:src|tests|conf|benchmarks|docs|\.ci|\.dvc)/[\w./-]+)", text):
        assert (ROOT / named).exists(), named
    for named in re.findall(r"`([a-z]+/\w+\.py)`", text):
        assert (ROOT / named).exists() or (ROOT / "src/epochwise" / named).exists(), named
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert target in targets, target


def test_the_network_that_is_shown_is_the_example():
    (shown,) = re.findall(r"```python\n(.*?)```", TEXTS["docs/own-network.md"], flags=re.DOTALL)
    assert (ROOT / "networks/residual.py").read_text().endswith(shown)


def test_the_map_has_every_room_and_file():
    room_map = re.search(r"```\nsrc/epochwise/\n(.*?)```", TEXTS["docs/architecture.md"], flags=re.DOTALL)[1]
    room, named = "", set()
    for line in room_map.splitlines():
        name, _, jobs = line.strip().partition("/ ")
        room, jobs = (name, jobs) if jobs else (room, line)
        named |= {f"{room}/{word}" for word in re.findall(r"\w+", jobs)}
    files = {path.relative_to(ROOT / "src/epochwise").with_suffix("") for path in ROOT.glob("src/epochwise/*/*.py")}
    assert {str(file) for file in files if file.name != "__init__"} <= named


def test_readme_has_a_row_for_every_command():
    from epochwise.cli import epochwise

    rows = [line for line in TEXTS["README.md"].splitlines() if line.startswith("| `epochwise ")]
    named = {name for row in rows for name in re.findall(r"`(?:epochwise )?([a-z]+)[^`]*`", row.split(" | ")[0])}
    assert named == set(epochwise.commands)
    for row in rows:
        first = re.findall(r"`epochwise ([a-z]+)", row)[0]
        options = {option for item in epochwise.commands[first].params for option in item.opts}
        if isinstance(epochwise.commands[first], click.Command) and first != "run":  # Hydra reads run's options
            assert set(re.findall(r"--[a-z]+", row.split(" | ")[0])) <= options, first


def test_sizes_that_are_stated_are_true(tensors, tmp_path, monkeypatch):
    from epochwise.config.compose import load
    from epochwise.training.model_file import save_model
    from epochwise.training.network import build_model
    from epochwise.training.optimizer import FusedAdam
    from epochwise.trajectory.states import StateStore

    monkeypatch.chdir(ROOT)
    cfg = load(["experiment=writeup"])
    model = build_model(cfg.model, (28, 28, 1), 10, cfg.train.precision, cfg.seed)
    optimizer = FusedAdam()
    optimizer.build(model.trainable_variables)
    save_model(model, tmp_path / "model.keras")
    variables = [variable.numpy() for variable in (*model.variables, *optimizer.variables)]
    row = dict.fromkeys(("epoch", "loss", "accuracy", "val_loss", "val_accuracy"), 1)
    StateStore(tmp_path / "states", {}, max_gb=1).write(variables, [row], [1.0])
    (state,) = tmp_path.glob("states/*/*.npz")

    stated = set(re.findall(r"\d+\.\d MB", "".join(TEXTS.values())))
    assert stated == {f"{file.stat().st_size / 1e6:.1f} MB" for file in (tmp_path / "model.keras", state)}
    assert f"{model.count_params():,} parameters" in TEXTS["docs/results.md"]
