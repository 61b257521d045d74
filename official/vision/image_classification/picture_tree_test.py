import io
import os

from PIL import Image

from official.utils.testing import errors
from official.vision.image_classification import picture_tree

# ---- Making folders ----


def encoded(image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def picture(colour=(200, 30, 60), size=(8, 6)) -> bytes:
    """A PNG file of one colour; size is width and height."""
    return encoded(Image.new("RGB", size, colour))


def write(path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def fill(folder, numbers: dict[str, int], size=(8, 6)) -> None:
    """Writes pictures 000.png, ... whose colours are number and class."""
    for label, (name, number) in enumerate(numbers.items()):
        for index in range(number):
            content = picture((index, label, 7), size)
            write(folder / name / f"{index:03}.png", content)


# ---- Checking what is found ----


def find(folder) -> picture_tree.Tree:
    return picture_tree.find_tree(str(folder))


def message_of(folder) -> str:
    """Message of the UserError that must be raised; checks that it is one line."""
    return errors.message_of(find, folder)


# ---- Files ----


def test_find_pictures(tmp_path):
    fill(tmp_path, {"a": 1, "a b": 1})
    for name in ("top.JPG", ".hidden.jpg", "note.txt"):
        write(tmp_path / name, picture())
    assert picture_tree.find_pictures(str(tmp_path)) == [
        f"{tmp_path}/{name}" for name in ("a b/000.png", "a/000.png", "top.JPG")
    ]


def test_nested_hidden_and_other_files(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    write(tmp_path / "a" / "summer 2020" / "deep" / "x.png", picture((100, 0, 7)))
    for name in (
        ".DS_Store",
        ".git/c/d.png",
        "__MACOSX/a/._000.png",
        "a/._000.png",
        "a/.hidden/x.png",
        "a/Thumbs.db",
    ):
        write(tmp_path / name, picture())
    for name in ("labels.csv", "loose.png", "a/notes.txt", "b/more/raw.tif"):
        write(tmp_path / name, picture())
    tree = find(tmp_path)
    assert tree.class_names == ("a", "b")
    assert tree.source.endswith("; 4 other files passed over")
    assert tree.names == [
        *("a/000.png", "a/001.png", "a/002.png", "a/summer 2020/deep/x.png"),
        *("b/000.png", "b/001.png", "b/002.png"),
    ]
    assert tree.labels.tolist() == [0] * 4 + [1] * 3
    assert tree.parts.tolist() == ["train"] * 7
    paths = [os.path.join(tmp_path, name) for name in tree.names]
    assert [path.decode() for path in tree.paths] == paths
    assert [tree.path(row) for row in range(7)] == paths


def test_links_are_followed_but_not_in_circles(tmp_path):
    fill(tmp_path / "elsewhere", {"real": 4})
    fill(tmp_path / "data", {"b": 3})
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere" / "real")
    inner = tmp_path / "data" / "b" / "inner"
    inner.mkdir()
    (inner / "up").symlink_to(tmp_path / "data" / "b")
    (inner / "top").symlink_to(tmp_path / "data")
    (inner / "self").symlink_to(inner)
    (tmp_path / "data" / "b" / "one more.png").symlink_to(
        tmp_path / "elsewhere" / "real" / "003.png"
    )
    tree = find(tmp_path / "data")
    assert tree.class_names == ("a", "b")
    assert tree.labels.tolist() == [0] * 4 + [1] * 4
    (tmp_path / "data" / "c").symlink_to(tmp_path / "data")
    assert f"{tmp_path}/data/c holds no picture" in message_of(tmp_path / "data")


# ---- Parts and classes ----


def test_a_class_called_train(tmp_path):
    fill(tmp_path, {"bus": 3, "train": 3})
    assert find(tmp_path).class_names == ("bus", "train")


# ---- Errors ----


def test_missing_folder(tmp_path):
    message = message_of(tmp_path / "none")
    assert message.startswith(f"--data_dir={tmp_path}/none does not exist; give")


def test_a_file_is_no_folder(tmp_path):
    write(tmp_path / "a.png", picture())
    message = message_of(tmp_path / "a.png")
    assert message.startswith(f"--data_dir={tmp_path}/a.png is no folder; give")


def test_empty_folder(tmp_path):
    assert message_of(tmp_path).startswith(f"{tmp_path} is empty; give a folder")


def test_no_sub_folders(tmp_path):
    write(tmp_path / "a.png", picture())
    write(tmp_path / "a.txt", b"")
    message = message_of(tmp_path)
    assert f"{tmp_path} has no sub-folders, only 2 files, 1 of them pictures" in message
    assert "put the pictures of each class into a sub-folder" in message


def test_a_test_folder_without_classes(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    write(tmp_path / "test" / "1.png", picture())
    assert f"{tmp_path}/test has no sub-folders, only 1 file" in message_of(tmp_path)


def test_one_class(tmp_path):
    fill(tmp_path, {"a": 3})
    message = message_of(tmp_path)
    assert f"{tmp_path} has one class only, a, where at least 2 are" in message
    assert "give --data_dir" not in message


def test_a_folder_around_the_classes(tmp_path):
    fill(tmp_path / "images", {"a": 3, "b": 3})
    message = message_of(tmp_path)
    assert "one class only, images" in message
    assert message.endswith(f"give --data_dir={tmp_path}/images")


def test_no_pictures(tmp_path):
    write(tmp_path / "a" / "1.txt", b"")
    write(tmp_path / "b" / "1.tif", b"")
    message = message_of(tmp_path)
    assert f"{tmp_path} holds no picture (.jpg, .jpeg, " in message


def test_a_class_without_pictures(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    write(tmp_path / "c d" / "1.txt", b"")
    message = message_of(tmp_path)
    assert message.startswith(f"{tmp_path}/c d holds no picture (.jpg, ")
    assert message.endswith("or remove the folder")


def test_a_test_part_without_pictures(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    (tmp_path / "test" / "a").mkdir(parents=True)
    assert f"{tmp_path}/test holds no picture (" in message_of(tmp_path)


def test_a_class_that_was_not_trained(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    fill(tmp_path / "test", {"a": 1, "c": 1})
    message = message_of(tmp_path)
    assert message == (
        f"{tmp_path}/test/c is a class that the training part does not have (its "
        "classes are a, b); rename or remove it"
    )


def test_two_folders_of_one_part(tmp_path):
    for name in ("train", "val", "validation"):
        fill(tmp_path / name, {"a": 3, "b": 3})
    assert "has both val and validation, which mean the same" in message_of(tmp_path)


def test_no_training_folder(tmp_path):
    for name in ("test", "val"):
        fill(tmp_path / name, {"a": 3, "b": 3})
    assert "has test, val but no train;" in message_of(tmp_path)
