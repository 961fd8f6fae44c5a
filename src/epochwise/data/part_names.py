"""What the name of a file, a folder or an array says: of the training or the test set, images or labels."""

import re
from typing import NamedTuple

PARTS = {
    "train": {"train", "training", "tr"},
    "test": {"test", "testing", "t10k", "te"},
    "validation": {"val", "valid", "validation", "dev"},
}
LABELS = {"y", "ys", "label", "labels", "lbl", "lbls", "target", "targets"}
IMAGES = {"x", "xs", "image", "images", "img", "imgs", "pixel", "pixels", "picture", "pictures", "samples"}
CLASSES = {"class", "classes", "category", "categories", "digit", "digits"}  # also in names of sets: emnist-digits
MASKS = {"mask", "masks"}  # labels of each pixel
CONTENTS = {"data", "dataset", "feature", "features", "input", "inputs"}  # stand beside the others: data_train_labels
NAMES = {"names", "name"}
CLASS_NAMES = "classes.txt"  # a name a line, in the order of labels; NAME.classes.txt beside NAME.npz or NAME.csv


class Role(NamedTuple):
    """What a name says, None where it says nothing."""

    part: str | None  # train, test, validation
    kind: str | None  # images, labels, names (of classes)


def role_of(name: str) -> Role:
    """The role that the words of a name give: `x_train`, `trainImages`, `emnist-letters-test-labels-idx1-ubyte`."""
    words = _words(name)
    part = next((part for part, known in PARTS.items() if known & words), None)
    if NAMES & words and (LABELS | CLASSES) & words:
        return Role(part, "names")
    known = (("labels", LABELS | MASKS), ("images", IMAGES), ("labels", CLASSES), ("images", CONTENTS))
    return Role(part, next((kind for kind, spelled in known if spelled & words), None))


def other_words(name: str) -> frozenset[str]:
    """The words of a name that give no role: of `test_tube` it is `tube`."""
    return frozenset(_words(name).difference(*PARTS.values(), LABELS, MASKS, IMAGES, CLASSES, CONTENTS, NAMES))


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
