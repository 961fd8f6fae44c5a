"""What the name of a file, a folder or an array says: of the training or the test set, images or labels."""

import re
from typing import NamedTuple

PARTS = {
    "train": {"train", "training", "tr"},
    "test": {"test", "testing", "t10k", "te"},
    "validation": {"val", "valid", "validation", "dev"},
}
LABELS = {"y", "label", "labels", "lbl", "lbls", "lab", "labs", "target", "targets", "class", "classes", "categories"}
LABELS |= {"category", "ys", "answers", "digit", "digits"}
IMAGES = {"x", "image", "images", "img", "imgs", "pixel", "pixels", "picture", "pictures", "xs", "samples"}
CONTENTS = {
    "data",
    "dataset",
    "feature",
    "features",
    "input",
    "inputs",
}  # also stand before `labels`: data_train_labels
NAMES = {"names", "name"}


class Role(NamedTuple):
    """What a name says, None where it says nothing."""

    part: str | None  # train, test, validation
    kind: str | None  # images, labels, names (of classes)


def role_of(name: str) -> Role:
    """The role that the words of a name tell: `x_train`, `trainImages`, `emnist-letters-test-labels-idx1-ubyte`."""
    words = _words(name)
    part = next((part for part, known in PARTS.items() if known & words), None)
    if NAMES & words and (LABELS & words):
        return Role(part, "names")
    if LABELS & words:
        return Role(part, "labels")
    return Role(part, "images" if (IMAGES | CONTENTS) & words else None)


def without_part(name: str) -> str:
    """A name without the word for its part, in lower case: equal for two files of one data set and one kind."""
    pattern = "|".join(sorted({word for known in PARTS.values() for word in known if len(word) > 2}, key=len)[::-1])
    return re.sub(pattern, "", name.lower())


def _words(name: str) -> set[str]:
    """The words of a name in lower case: between signs and digits, and at capitals; `xtrain` is `x` and `train`."""
    spelled = re.sub(r"t10k", " test ", name, flags=re.IGNORECASE)
    words: set[str] = set()
    for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", spelled):
        words |= _split_joined(word.lower())
    return words


def _split_joined(word: str) -> set[str]:
    for part in ("training", "train", "testing", "test"):
        for rest in (word.removeprefix(part), word.removesuffix(part)):
            if rest != word and rest in LABELS | IMAGES | CONTENTS:
                return {part, rest}
    return {word}
