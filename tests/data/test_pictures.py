"""Folders of pictures by class: what may lie in them, and how what is in doubt is refused."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochwise.common.errors import InputError
from epochwise.data.images import ReadOptions, Source
from epochwise.data.sources import content_identity, load_source

DRAW = np.random.default_rng(0)
CLASSES = ("ant", "bee", "cat")
GREY = DRAW.integers(0, 256, (3, 6, 8, 8), np.uint8)  # class, picture, H, W


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four training and two test pictures of each class."""
    root = tmp_path / "insects"
    for name, pictures in zip(CLASSES, GREY, strict=True):
        for number, pixels in enumerate(pictures):
            save(root / ("train" if number < 4 else "test") / name / f"{number}.png", pixels)
    return root


def load(folder: Path, **options: float) -> Source:
    return load_source(str(folder), folder, ReadOptions(**options))


def refusal(folder: Path, **options: float) -> str:
    with pytest.raises(InputError) as refused:
        load(folder, **options)
    assert str(folder) in str(refused.value) and "\n" not in str(refused.value)
    return str(refused.value)


def test_folders_name_the_classes(folder):
    read = load(folder)
    np.testing.assert_array_equal(read.images.x_train[..., 0], GREY[:, :4].reshape(12, 8, 8))
    np.testing.assert_array_equal(read.images.x_test[..., 0], GREY[:, 4:].reshape(6, 8, 8))
    assert read.images.y_train.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert read.class_names == list(CLASSES)
    assert not read.conversions and not read.notes


def test_one_level_of_folders_is_split_where_the_size_is_stated(folder):
    shutil.rmtree(folder / "test")
    assert "has no test set; prepare.test_size=3 splits that many of its 12 images" in refusal(folder / "train")
    read = load(folder / "train", test_size=3)
    assert (len(read.images.x_train), len(read.images.x_test)) == (9, 3)
    assert sorted(read.images.y_test.tolist()) == [0, 1, 2]
    assert load(folder, test_size=3).images.x_test.tobytes() == read.images.x_test.tobytes()


def test_numbers_as_names_of_folders_are_in_the_order_of_their_size(tmp_path):
    for number in range(11):
        for part, count in (("Train", 3), ("Testing", 1)):
            for copy in range(count):
                save(
                    tmp_path / "n" / part / str(number) / f"{copy}.PNG",
                    np.full((8, 8), 20 * number + copy + 50, np.uint8),
                )
    read = load(tmp_path / "n")
    assert read.images.x_test[:, 0, 0, 0].tolist() == [20 * number + 50 for number in range(11)]
    assert read.class_names == []


def test_what_systems_and_people_leave_in_folders_is_not_used(folder):
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "__MACOSX" / "train").mkdir(parents=True)
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / "ant" / "Thumbs.db").write_bytes(b"\0")
    (folder / "train" / "ant" / "._0.png").write_bytes(b"\0")
    (folder / "train" / "bee" / "desktop.ini").write_bytes(b"\0")
    assert not load(folder).notes
    (folder / "train" / "bee" / "notes.txt").write_text("a note")
    (folder / "predict").mkdir()
    read = load(folder)
    assert len(read.images.x_train) == 12
    assert read.notes == [
        "train also holds files that are no pictures (bee/notes.txt): not used",
        "insects also holds predict: not used",
    ]


def test_each_picture_that_is_not_used_is_noted(folder):
    for place in (folder, folder / "train", folder / "test", folder / "train" / "ant" / "more" / "deeper"):
        save(place / "a.png", GREY[0, 0])
    read = load(folder)
    assert (len(read.images.x_train), len(read.images.x_test)) == (12, 6)
    assert read.notes == [
        "train also holds pictures outside of classes (a.png): not used",
        "train also holds folders inside of classes (ant/more): not used",
        "test also holds pictures outside of classes (a.png): not used",
        "insects also holds a.png: not used",
    ]
    (folder / "train" / "labels.csv").write_text("file,label\n")
    shutil.rmtree(folder / "test")
    assert load(folder / "train", test_size=3).notes == [
        "train also holds pictures outside of classes (a.png): not used",
        "train also holds files that are no pictures (labels.csv): not used",
        "train also holds folders inside of classes (ant/more): not used",
    ]


def test_a_link_to_nothing_is_a_picture_that_cannot_be_read(folder):
    before = content_identity(str(folder))
    (folder / "train" / "ant" / "9.png").symlink_to(folder / "gone.png")
    assert content_identity(str(folder)) != before
    assert "1 of 19 pictures cannot be read: train/ant/9.png (" in refusal(folder)
    (folder / "gone.png").symlink_to(folder / "test" / "ant" / "5.png")
    assert len(load(folder).images.x_train) == 13


def test_grey_and_coloured_pictures_become_coloured(folder):
    colour = DRAW.integers(0, 256, (8, 8, 3), np.uint8)
    save(folder / "test" / "bee" / "5.png", colour)
    read = load(folder)
    assert read.conversions == ["17 of 18 pictures are grey: given three equal colours"]
    np.testing.assert_array_equal(read.images.x_test[3], colour)
    np.testing.assert_array_equal(read.images.x_train[0], np.repeat(GREY[0, 0][..., None], 3, 2))


def test_pictures_of_other_modes_are_read_as_they_look(folder):
    grey = GREY[0, 0]
    train = folder / "train" / "ant"
    palette = Image.fromarray(grey).convert("P")
    palette.save(train / "0.png")
    Image.fromarray(grey > 100).convert("1").save(train / "1.png")
    opaque = np.where(np.arange(64).reshape(8, 8) < 32, 255, 0).astype(np.uint8)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opaque)]).save(train / "2.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(train / "3.png")
    read = load(folder)
    assert read.images.x_train.shape == (12, 8, 8, 1)
    first, second, third, fourth = read.images.x_train[:4, ..., 0]
    np.testing.assert_array_equal(first, grey)
    np.testing.assert_array_equal(second, np.where(grey > 100, 255, 0))
    np.testing.assert_array_equal(third, np.where(opaque == 255, grey, 255))
    np.testing.assert_array_equal(fourth, grey)
    assert read.conversions == [
        "1 picture with transparent parts put on white",
        "1 picture of 16 bits scaled to 0…255",
    ]


def test_a_picture_is_turned_as_the_camera_says(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    save(folder / "train" / "ant" / "0.png", GREY[0, 0], exif=exif)
    read = load(folder)
    np.testing.assert_array_equal(read.images.x_train[0, ..., 0], np.rot90(GREY[0, 0], -1))
    assert read.conversions == ["1 picture turned as the EXIF data says"]


def test_pictures_of_several_sizes_are_refused_or_resized(folder):
    save(folder / "train" / "bee" / "0.png", DRAW.integers(0, 256, (9, 12), np.uint8))
    said = refusal(folder)
    assert "has pictures of 2 sizes (height×width): 17 pictures of 8×8, 1 picture of 9×12" in said
    assert "prepare.image_size=8" in said
    read = load(folder, image_size=4)
    assert read.images.x_train.shape == (12, 4, 4, 1)
    assert read.conversions == ["pictures resized from 8×8, 9×12 to 4×4"]
    image = Image.fromarray(GREY[0, 0]).resize((4, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read.images.x_train[0, ..., 0], np.asarray(image))


def test_masks_are_refused_or_scaled_as_stated(folder):
    for path in folder.rglob("*.png"):
        save(path, (np.asarray(Image.open(path)) > 100).astype(np.uint8))
    assert "have 1 as their largest value, where white is 255" in refusal(folder)
    read = load(folder, pixel_max=1)
    np.testing.assert_array_equal(np.unique(read.images.x_train), [0, 255])
    assert read.conversions == ["pixels 0…1 scaled to 0…255"]


def test_twelve_bits_in_sixteen_are_refused_or_scaled_as_stated(folder):
    for path in folder.rglob("*.png"):
        save(path, np.rint(np.asarray(Image.open(path)) * (4095 / 255)).astype(np.uint16))
    assert "prepare.pixel_max=4095 for 12 bits" in refusal(folder)
    np.testing.assert_array_equal(load(folder, pixel_max=4095).images.x_train[..., 0], GREY[:, :4].reshape(12, 8, 8))


def test_a_white_of_more_than_eight_bits_is_not_that_of_pictures_of_eight(folder):
    wide = [path for number, path in enumerate(sorted(folder.rglob("*.png"))) if number % 2]
    for path in wide:
        save(path, np.rint(np.asarray(Image.open(path)) * (4095 / 255)).astype(np.uint16))
    read = load(folder, pixel_max=4095)
    np.testing.assert_array_equal(read.images.x_train[..., 0], GREY[:, :4].reshape(12, 8, 8))
    assert read.conversions == [
        "9 pictures of 16 bits with pixels 0…4095 scaled to 0…255",
        "9 pictures of 8 bits kept as they are, for 4095 cannot be white in them",
    ]


def test_a_stated_white_holds_below_transparency_too(folder):
    grey = Image.fromarray(GREY[0, 0] // 16)
    for path in folder.rglob("*.png"):
        save(path, np.asarray(Image.open(path)) // 16)
    Image.merge("LA", [grey, grey.point(lambda value: 255 * (value > 7))]).save(folder / "train" / "ant" / "0.png")
    read = load(folder, pixel_max=15)
    seen = GREY[0, 0] // 16
    np.testing.assert_array_equal(read.images.x_train[0, ..., 0], np.where(seen > 7, seen * 17, 255))


def test_a_phone_jpeg_with_a_second_frame_is_its_first(folder):
    first, second = (Image.fromarray(GREY[0, number]).convert("RGB") for number in (0, 1))
    path = folder / "train" / "ant" / "0.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[second], quality=100)
    assert Image.open(path).n_frames == 2
    alone = io.BytesIO()
    first.save(alone, "JPEG", quality=100)
    (folder / "train" / "ant" / "0.png").unlink()
    np.testing.assert_array_equal(load(folder).images.x_train[0], np.asarray(Image.open(alone)))


def test_all_pictures_that_cannot_be_read_are_named(folder):
    (folder / "train" / "ant" / "0.png").write_bytes(b"")
    whole = (folder / "test" / "bee" / "4.png").read_bytes()
    (folder / "test" / "bee" / "4.png").write_bytes(whole[:-30])
    (folder / "test" / "bee" / "5.png").write_text("<html>")
    frames = [Image.fromarray(pixels) for pixels in GREY[0, :2]]
    frames[0].save(folder / "train" / "cat" / "moving.gif", save_all=True, append_images=frames[1:])
    said = refusal(folder)
    assert "4 of 19 pictures cannot be read: train/ant/0.png (" in said
    assert "and 1 more; replace or remove them" in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda root: (root / "train" / "dog").mkdir(), "has no pictures in dog"),
        (lambda root: save(root / "test" / "dog" / "0.png", GREY[0, 0]), "that it does not train on: dog (1 picture)"),
        (
            lambda root: (root / "test" / "ant").rename(root / "test" / "Ant"),
            "it does not train on: Ant (2 pictures); it trains on ant, bee, cat. A class has the same name in both",
        ),
        (
            lambda root: save(root / "train" / "ant" / "first day" / "0.png", GREY[0, 0]),
            "has pictures two folders deep, such as in ant/first day/",
        ),
        (
            lambda root: (shutil.rmtree(root / "test"), (root / "test" / "ant").mkdir(parents=True)),
            "insects/test has no pictures in ant; fill it, or remove it and state prepare.test_size",
        ),
        (
            lambda root: (
                (root / "test").rename(root / "t"),
                (root / "test").mkdir(),
                (root / "t").rename(root / "test/t"),
            ),
            "insects/test has pictures two folders deep, such as in t/ant/",
        ),
        (
            lambda root: (
                shutil.rmtree(root / "test"),
                save(root / "test" / "t" / "t" / "ant" / "0.png", GREY[0, 0]),
            ),
            "insects/test has no pictures in t; fill it",
        ),
        (lambda root: shutil.copytree(root / "train", root / "training"), "has train and training; one is train/"),
        (
            lambda root: (shutil.rmtree(root / "train"), (root / "test").rename(root / "other")),
            "holds other/; name the folder",
        ),
        (
            lambda root: (
                shutil.rmtree(root / "train"),
                shutil.rmtree(root / "test"),
                save(root / "cat.0.png", GREY[0, 0]),
            ),
            "has pictures outside folders (cat.0.png); put those of each class into a folder of its own",
        ),
    ],
)
def test_folders_in_doubt_are_refused(folder, change, reason):
    change(folder)
    assert reason in refusal(folder)


def test_a_class_without_test_pictures_is_noted(folder):
    shutil.rmtree(folder / "test" / "bee")
    (folder / "test" / "bee").mkdir()
    assert load(folder).notes == ["no test images of bee"]


def test_a_file_of_names_gives_the_classes_other_names(folder):
    (folder / "classes.txt").write_text("Ameise\nBiene\ncat\n")
    read = load(folder)
    assert read.class_names == ["Ameise", "Biene", "cat"]
    assert read.conversions == ["class names taken from classes.txt: ant → Ameise, bee → Biene"]
    (folder / "classes.txt").write_text("Ameise\nBiene\n")
    with pytest.raises(InputError, match="classes.txt: holds 2 names for 3 classes"):
        load(folder)


def test_a_file_of_names_does_not_exchange_classes(folder):
    """Folders say which picture is what; the order of a file may come from anywhere."""
    (folder / "classes.txt").write_text("cat\nant\nbee\n")
    read = load(folder)
    assert read.class_names == list(CLASSES)
    assert read.conversions == ["classes.txt has another order than the classes (ant, bee, cat), and is not used"]
    for names in ("Cat\nAnt\nBee\n", "bee\ncat\nwasp\n", "wasp\nbee\nant\n"):
        (folder / "classes.txt").write_text(names)
        assert "which is another class; write the names in the order ant, bee, cat" in refusal(folder)


def test_a_file_of_names_does_not_exchange_numbers(folder):
    for number, name in enumerate(CLASSES):
        for part in ("train", "test"):
            (folder / part / name).rename(folder / part / str(number))
    (folder / "classes.txt").write_text("2\n1\n0\n")
    read = load(folder)
    assert read.class_names == []
    assert read.conversions == ["classes.txt has another order than the classes (0, 1, 2), and is not used"]
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    assert load(folder).class_names == list(CLASSES)


def test_a_single_class_is_named(folder):
    for part in ("train", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(folder / part / name)
    assert "has ant as its only class; there must be two or more" in refusal(folder)


def test_what_identifies_the_content_are_pixels_and_classes(folder):
    before = content_identity(str(folder))
    (folder / "train" / "notes.txt").write_text("a note")
    assert content_identity(str(folder)) == before
    (folder / "train" / "ant" / "0.png").rename(folder / "train" / "bee" / "9.png")
    moved = content_identity(str(folder))
    save(folder / "train" / "ant" / "0.png", GREY[0, 0])
    assert len({before, moved, content_identity(str(folder))}) == 3


def test_pictures_that_do_not_fit_into_memory_are_refused_before_they_are_all_read(folder, monkeypatch):
    monkeypatch.setattr("epochwise.data.pictures.MAX_BYTES", 12 * 64 - 1)
    assert "12 pictures of 8×8×1 take" in refusal(folder)


NO_CLASSES = [
    *[("train", "test"), ("training", "testing", "valid"), ("tr", "te"), ("mnist_train", "mnist_test")],
    *[("train", "test", "figures"), ("train_images", "test_images"), ("train", "images")],
    *[("images", "labels"), ("images", "masks"), ("img", "mask"), ("train_images", "train_labels")],
]


@pytest.mark.parametrize("below", ["", "train"])
@pytest.mark.parametrize("names", NO_CLASSES, ids="+".join)
def test_parts_without_classes_are_no_classes(tmp_path, names, below):
    """Or a network would learn to tell the training from the test set, or pictures from their masks."""
    for name in names:
        for number in range(20):
            save(tmp_path / below / name / f"{number % 3}_{number}.png", np.full((8, 8), 9 * number, np.uint8))
    (tmp_path / "train.csv").write_text("file,label\n")
    said = refusal(tmp_path, test_size=6)
    assert names[0] in said and "class" in said


def test_text_files_of_labels_beside_images_are_named(tmp_path):
    """As detectors of objects are trained."""
    for number in range(4):
        save(tmp_path / "train" / "images" / f"{number}.png", GREY[0, number])
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "0.txt").write_text("0 0.5 0.5 1 1")
    assert "has folders of images and of labels (images, labels), which are no classes" in refusal(tmp_path)


CLASS_NAMES = [
    *[tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), ("x", "y"), ("tr", "te", "de"), ("test_tube", "train_station")],
    *[("train", "tram", "bus"), ("with_mask", "without_mask"), ("image", "text"), ("class_1", "class_2")],
    *[("dog_train", "cat_test"), ("labels", "logos", "images")],
]


@pytest.mark.parametrize("below", ["", "train"])
@pytest.mark.parametrize("names", CLASS_NAMES, ids="+".join)
def test_names_of_classes_may_hold_any_word(tmp_path, names, below):
    for label, name in enumerate(names):
        for number in range(4):
            save(tmp_path / below / name / f"{number}.png", np.full((8, 8), 9 * label + number, np.uint8))
    assert sorted(load(tmp_path, test_size=len(names), pixel_max=255).class_names) == sorted(names)
