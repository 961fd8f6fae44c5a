"""Labels of any kind become whole numbers 0…classes-1, or are refused with what would make them that.

What a user called a class is not lost: text, and numbers that do not start at 0, become the names of the classes.
"""

from typing import NamedTuple

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.wording import counted, listed

LARGEST = 2**53  # below this, each whole number is a float of its own


class Labels(NamedTuple):
    """Labels as int64 N in 0…classes-1, the names of the classes (none if they have none), and what was changed."""

    train: np.ndarray
    test: np.ndarray | None
    class_names: list[str]
    conversions: list[str]


class ClassNames(NamedTuple):
    """The names that the user gives the classes, in the order of the labels, and where messages say they are."""

    names: list[str]  # empty if there are none
    given_in: str
    way_to_give: str  # the file that would name them


def to_labels(train: np.ndarray, test: np.ndarray | None, called: ClassNames, where: str) -> Labels:
    """The labels of both parts, numbered alike.

    Raises InputError if there are not two classes or more, if it is in doubt what they are, or if a test label is none
    of the training labels.
    """
    y_train, conversions = _plain(train, f"the train labels of {where}")
    y_test = None
    if test is not None:
        y_test, of_test = _plain(test, f"the test labels of {where}")
        conversions += [change for change in of_test if change not in conversions]
        if (y_test.dtype.kind == "U") != (y_train.dtype.kind == "U"):
            raise InputError(f"prepare.source: {where} has words as labels in one part and numbers in the other")
    classes = np.unique(y_train)
    if len(classes) < 2:
        only = f"{called.names[0]} as its only class" if len(called.names) == 1 else f"{classes[0]} as its only label"
        raise InputError(f"prepare.source: {where} has {only}; there must be two or more")
    if len(classes) > len(y_train) / 2:
        raise InputError(
            f"prepare.source: {where} has {len(classes):,} different labels for {len(y_train):,} training images; "
            "are these the labels? Each class needs several images"
        )
    _check_test_labels(classes, y_test, where)
    classes, names, change = _ordered(classes, called, where)
    return Labels(
        _numbered(y_train, classes),
        None if y_test is None else _numbered(y_test, classes),
        names,
        [*conversions, *change],
    )


def _plain(values: np.ndarray, which: str) -> tuple[np.ndarray, list[str]]:
    """The labels N as int64 or text, and what was changed. Raises InputError."""
    if values.ndim == 2 and values.shape[1] == 1:  # as Keras gives CIFAR's
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "biuf" and values.size:
        return _from_one_hot(values, which), ["one-hot labels turned into numbers"]
    if values.ndim != 1:
        raise InputError(f"prepare.source: {which} have the shape {values.shape}; give labels N, one for each image")
    if values.dtype.kind in "US":
        return _from_text(values, which)
    if values.dtype.kind == "f":
        unknown = int((~np.isfinite(values)).sum())
        if unknown:
            raise InputError(
                f"prepare.source: {which} hold {unknown:,} values that are NaN or infinite; leave these images out"
            )
        if values.size and ((values != np.rint(values)).any() or np.abs(values).max() > LARGEST):
            example = listed(values[values != np.rint(values)][:1]) or "numbers above 2⁵³"
            raise InputError(f"prepare.source: {which} hold {example}; labels are whole numbers or words")
        return values.astype(np.int64), [f"{values.dtype} labels turned into whole numbers"]
    if values.dtype.kind == "b":
        return values.astype(np.int64), ["labels False and True turned into 0 and 1"]
    if values.dtype.kind not in "iu":
        raise InputError(f"prepare.source: {which} are {values.dtype}; labels are whole numbers or words")
    if values.size and int(values.max()) > LARGEST:
        raise InputError(f"prepare.source: {which} hold {values.max()}; labels are numbers below 2⁵³")
    return values.astype(np.int64), []


def _from_one_hot(values: np.ndarray, which: str) -> np.ndarray:
    """The column of the one in each row. Raises InputError if a row has not a single one among zeros."""
    ones = values == 1
    wrong = ~((ones.sum(axis=1) == 1) & ((values == 0).sum(axis=1) == values.shape[1] - 1))
    if wrong.any():
        row = values[wrong][0]
        raise InputError(
            f"prepare.source: {which} have the shape {values.shape} and are not one-hot: row {int(wrong.argmax())} is "
            f"{listed(row)}; give labels N, one for each image (y.argmax(axis=1) takes the largest of each row)"
        )
    return np.asarray(ones.argmax(axis=1), np.int64)


def _from_text(values: np.ndarray, which: str) -> tuple[np.ndarray, list[str]]:
    """Words as they are, without spaces around them; text that is whole numbers as these. Raises InputError."""
    try:
        texts = np.strings.strip(np.strings.decode(values, "utf-8") if values.dtype.kind == "S" else values)
    except UnicodeDecodeError as error:
        raise InputError(f"prepare.source: {which} are no UTF-8 text ({error})") from error
    empty = int((texts == "").sum())
    if empty:
        raise InputError(f"prepare.source: {which} are empty for {counted(empty, 'image')}; leave these images out")
    try:
        numbers = texts.astype(np.float64)
        if np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all() and np.abs(numbers).max() < LARGEST:
            return numbers.astype(np.int64), ["labels as text turned into numbers"]
    except ValueError:
        pass
    return texts, []


def _check_test_labels(classes: np.ndarray, y_test: np.ndarray | None, where: str) -> None:
    if y_test is None:
        return
    unknown = np.setdiff1d(y_test, classes)
    if len(unknown):
        images = int(np.isin(y_test, unknown).sum())
        plain = classes.dtype.kind != "U" and (np.diff(classes) == 1).all()
        known = f"training labels are {classes[0]}…{classes[-1]}" if plain else f"training labels are {listed(classes)}"
        raise InputError(
            f"prepare.source: {where} has the test label{'s' * (len(unknown) > 1)} {listed(unknown)} "
            f"({counted(images, 'image')}), but {known}"
        )


def _ordered(classes: np.ndarray, called: ClassNames, where: str) -> tuple[np.ndarray, list[str], list[str]]:
    """The labels in the order of their numbers, the names of the classes, and what was changed.

    Numbers from 0 stay, numbers from 1 are counted from 0. Others may lack a class, or hold a number that stands for
    none, so they are renumbered only if the user names as many classes. Raises InputError.
    """
    names = called.names
    if classes.dtype.kind == "U":
        return _ordered_words(classes, called, where)
    if names and len(names) != len(classes) and not (classes[0] == 0 and classes[-1] == len(names) - 1):
        raise InputError(
            f"{called.given_in}: holds {counted(len(names), 'name')} for {len(classes)} classes of {where}"
        )
    least, most = int(classes[0]), int(classes[-1])
    without_gap = most - least + 1 == len(classes)
    if without_gap and least == 0:
        return classes, names, []
    if without_gap and least == 1:
        shown = "their names" if names else "those numbers as names"
        return classes, names or [str(number) for number in classes], [f"labels 1…{most} counted from 0, with {shown}"]
    if names and len(names) == len(classes):
        return classes, names, [f"labels {listed(classes)} renumbered 0…{len(classes) - 1}"]
    left_out = np.setdiff1d(np.arange(max(least, 0), min(most, least + 10 * len(classes)) + 1), classes)
    problem = f"{listed(left_out)} left out" if len(left_out) else f"from {least} on"
    raise InputError(
        f"prepare.source: {where} has the training labels {listed(classes)}, {problem}; labels are 0…classes-1 or "
        f"1…classes with none left out. If this is meant, name the {len(classes)} classes in {called.way_to_give}, one "
        "a line"
    )


def _ordered_words(words: np.ndarray, called: ClassNames, where: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Words in the order of the given names, or else of the alphabet. Raises InputError if the names are others."""
    order, names = [str(word) for word in words], called.names
    if names and sorted(names) != order:
        raise InputError(f"{called.given_in}: names {listed(names)}, but the labels of {where} are {listed(order)}")
    how = "in the order of the names given" if names else "in alphabetical order"
    return np.array(names or order), names or order, [f"{len(order)} words as labels numbered {how}"]


def _numbered(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The position of each value in `classes`."""
    order = np.argsort(classes)
    return np.asarray(order[np.searchsorted(classes, values, sorter=order)], np.int64)
