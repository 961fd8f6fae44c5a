"""What two runs differ in: configuration, data, code, versions, history, scores and single test images."""

from dataclasses import asdict, dataclass
from typing import Any

from epochwise.common.git import try_git
from epochwise.common.paths import display_path, find_root
from epochwise.common.terminal import Terminal
from epochwise.config.schema import parameters
from epochwise.report.charts import shown
from epochwise.report.content import Classified, ReportedRun
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.paired_test import LEVEL, mcnemar
from epochwise.training.history import History

MCNEMAR = "McNemar's exact test"
MAX_IMAGES = 20  # whose numbers are printed; --format json has all

Row = dict[str, object]


@dataclass(frozen=True)
class Images:
    """How two runs classify the same test images."""

    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    p_value: float  # of McNemar's exact test
    disagree: list[int]  # images that the two take for different classes, by their index in the test set


@dataclass(frozen=True)
class Difference:
    """Each part holds what is not equal, as (what, A, B); an empty part is equal."""

    runs: tuple[Row, Row]  # id, name and directory of A and of B
    configuration: list[tuple[str, Any, Any]]
    data: list[tuple[str, Any, Any]]
    code: list[tuple[str, Any, Any]]
    changed_files: list[str] | None  # between the two commits; None if git cannot say
    versions: list[tuple[str, Any, Any]]
    history: str  # a sentence: up to which epoch the two are equal
    first_unequal_epoch: int | None  # None if all epochs that both have are equal
    metrics: list[tuple[str, Any, Any]]  # all that both have, also equal ones
    images: Images | None  # None if the two were not scored on the same test images

    def rows(self) -> list[Row]:
        """A row for each difference, and for each metric; what holds for the two together stands in both columns."""
        parts = {"configuration": self.configuration, "data": self.data, "code": self.code, "versions": self.versions}
        found: list[Row] = [
            {"part": "run", "what": key, "A": self.runs[0][key], "B": self.runs[1][key]} for key in self.runs[0]
        ]
        for part, rows in (*parts.items(), ("metrics", self.metrics)):
            found += [{"part": part, "what": what, "A": one, "B": other} for what, one, other in rows]
        both: list[tuple[str, str, object]] = [("code", "file that differs", name) for name in self.changed_files or ()]
        both.append(("history", "first unequal epoch", self.first_unequal_epoch))
        if self.images:
            only = {"A": self.images.only_a_right, "B": self.images.only_b_right}
            found.append({"part": "test images", "what": "only this run right", **only})
            both += [
                ("test images", "both right", self.images.both_right),
                ("test images", "both wrong", self.images.both_wrong),
                ("test images", f"p of {MCNEMAR}", self.images.p_value),
            ]
        return [*found, *({"part": part, "what": what, "A": value, "B": value} for part, what, value in both)]

    def as_json(self) -> dict[str, object]:
        parts = ("configuration", "data", "code", "versions", "metrics")
        content: dict[str, object] = {"A": self.runs[0], "B": self.runs[1]}
        content |= {part: {what: [one, other] for what, one, other in getattr(self, part)} for part in parts}
        content["changed_files"] = self.changed_files
        content["first_unequal_epoch"] = self.first_unequal_epoch
        return content | {"images": asdict(self.images) if self.images else None}


def difference(one: RunDirectory, other: RunDirectory) -> Difference:
    """What two runs whose training is finished differ in. Raises InputError if a file is missing or damaged."""
    a, b = (_reported(run) for run in (one, other))
    a_tags, b_tags = (run.record.mlflow.get("tags", {}) for run in (a, b))
    changed = None
    if a.record.git_commit and b.record.git_commit:
        names = try_git(
            find_root(), "diff", "--name-only", "--end-of-options", a.record.git_commit, b.record.git_commit
        )
        changed = names.splitlines() if names is not None else None
    code = {"commit": "git_commit", "uncommitted changes": "git_diff"}
    # The pipeline's run keeps the predictions of an earlier model until it is evaluated.
    same_images = a.record.data_sha256 == b.record.data_sha256 and bool(a.metrics and b.metrics)
    first, sentence = _compare_histories(a.history, b.history, a.record.weights_sha256 == b.record.weights_sha256)
    return Difference(
        runs=(_about(a), _about(b)),
        configuration=_unequal(dict(a.parameters), dict(b.parameters)),
        data=_unequal(_data(a), _data(b)),
        code=_unequal(
            *({what: getattr(run.record, name) for what, name in code.items()} | _code(run) for run in (a, b))
        ),
        changed_files=changed,
        versions=_unequal(*(_versions(tags) for tags in (a_tags, b_tags))),
        history=sentence,
        first_unequal_epoch=first,
        metrics=[(name, a.metrics[name], b.metrics[name]) for name in a.metrics if name in b.metrics],
        images=_compare_images(a.classified, b.classified) if same_images else None,
    )


def print_difference(found: Difference) -> None:
    """Print a difference as sentences and short lists."""
    console = Terminal()

    def line(text: str) -> None:
        console.print(text, markup=False)

    for side, about in zip("AB", found.runs, strict=True):
        line(f"{side}: run {about['run']} · {about['name']} · {about['directory']}")
    for part in ("configuration", "data", "code", "versions"):
        rows = getattr(found, part)
        line(f"{part}: {'the same' if not rows else ''}".rstrip())
        for what, one, other in rows:
            line(f"  {what}: {_said(one)} → {_said(other)}")
        if part == "code" and found.changed_files:
            line(f"  files that differ between the commits: {', '.join(found.changed_files)}")
    line(f"history: {found.history}")
    if found.metrics:
        line("metrics:")
    for name, one, other in found.metrics:
        line(f"  {name}: {_number(one)} → {_number(other)} ({_number(other - one, sign=True)})")
    if found.images is None:
        line("test images: not compared, since the two were not scored on the same ones")
        return
    images = found.images
    line(
        f"test images: {images.both_right} both right, {images.only_a_right} only A, {images.only_b_right} only B, "
        f"{images.both_wrong} both wrong"
    )
    line(f"  {_verdict(images)}")
    if images.disagree:
        named = ", ".join(map(str, images.disagree[:MAX_IMAGES]))
        more = f" and {len(images.disagree) - MAX_IMAGES} more" if len(images.disagree) > MAX_IMAGES else ""
        line(f"  taken for different classes, by their number in the test set: {named}{more}")


def _reported(run: RunDirectory) -> ReportedRun:
    return ReportedRun(run, run.read_finished(), run.read_own_metrics(), parameters(run.read_config()))


def _about(run: ReportedRun) -> Row:
    return {"run": run.id, "name": run.record.name, "directory": display_path(run.directory.path)}


def _data(run: ReportedRun) -> dict[str, Any]:
    meta = run.record.mlflow.get("dataset", {}).get("meta", {})
    sizes = {key: value for key, value in meta.items() if key.endswith("_images") or key in ("image_shape", "classes")}
    return {"sha256 of the prepared data": run.record.data_sha256, **sizes}


def _code(run: ReportedRun) -> dict[str, Any]:
    """The start of the sha256 of each file that decides what is trained, of the project and of an own network."""
    files = {**run.record.identity.get("code", {}), **run.record.identity.get("network", {})}
    return {name: str(digest)[:12] for name, digest in files.items()}


def _versions(tags: dict[str, Any]) -> dict[str, Any]:
    return {
        key.removeprefix("version."): value for key, value in tags.items() if key.startswith("version.") or key == "cpu"
    }


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = dict.fromkeys([*one, *other])
    return [(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]


def _compare_histories(one: History, other: History, same_weights: bool) -> tuple[int | None, str]:
    """The first epoch that is not equal, and a sentence on it."""
    common = min(len(one), len(other))
    first = next((number for number, (a, b) in enumerate(zip(one, other, strict=False), 1) if a != b), None)
    if first == 1:
        return first, "not equal from the first epoch on"
    if first:
        return first, f"equal up to epoch {first - 1}, not from epoch {first} on"
    if len(one) == len(other):
        epochs = f"all {common} epochs are" if common > 1 else "the one epoch is"
        return None, f"{epochs} equal, and the weights are {'' if same_weights else 'not '}the same"
    longer, more = ("A" if len(one) > len(other) else "B"), abs(len(one) - len(other))
    both = f"the {common} epochs" if common > 1 else "the one epoch"
    return None, f"equal in {both} that both have; {longer} has {more} more"


def _compare_images(one: Classified | None, other: Classified | None) -> Images | None:
    if one is None or other is None:
        return None
    count = sum(map(sum, one.counts))
    if count != sum(map(sum, other.counts)):
        return None
    both_wrong = len(one.wrong.keys() & other.wrong.keys())
    only_a, only_b = len(other.wrong) - both_wrong, len(one.wrong) - both_wrong
    disagree = sorted(
        index for index in one.wrong.keys() | other.wrong.keys() if one.wrong.get(index) != other.wrong.get(index)
    )
    both_right = count - only_a - only_b - both_wrong
    return Images(both_right, only_a, only_b, both_wrong, mcnemar(only_a, only_b), disagree)


def _verdict(images: Images) -> str:
    p = f"p = {images.p_value:.2g}, {MCNEMAR}"
    if images.only_a_right == images.only_b_right:
        return f"neither gets more of them right ({p})"
    better = "A" if images.only_a_right > images.only_b_right else "B"
    if images.p_value < LEVEL:
        return f"{better} gets more of them right, by more than chance explains on these images ({p})"
    return f"{better} gets more of them right, which may be chance ({p})"


def _said(value: object) -> str:
    return "none" if value is None else shown(value)


def _number(value: float, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return f"{value:{plus}d}" if isinstance(value, int) else f"{value:{plus}.4f}"
