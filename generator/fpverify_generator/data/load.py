"""Reads the owner's data: scikit-learn's digits under sensor noise, an NPZ file, or a folder of images."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from fpverify_generator.data.dataset import DataSet, check, require_every_class, split
from fpverify_generator.data.images import IN_MEMORY, MAX_DATA, Size, class_folders, loose_images, read_images
from fpverify_generator.data.store import Inputs
from fpverify_generator.errors import DataError
from fpverify_generator.run.seeds import derive_seed

NOISE = 0.3
"""Standard deviation of the digits' pixel noise, as a fraction of the input range."""
VIEWS = 4
"""How many noisy views of each digit there are; a split never parts them."""
LARGE = 256
"""Pixels a side above which a line says that training is slow."""


def noisy_digits(seed: int) -> DataSet:
    """Return scikit-learn's 1,797 handwritten digits, each seen `VIEWS` times under fresh pixel noise.

    Noise makes the task as hard as a real one: on the clean digits all models agree and nothing can be fingerprinted.

    Args:
        seed: the run's seed.

    Returns:
        7,188 grey 8x8 images in ten classes.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    clean = (digits.images[:, None] / 16).astype(np.float32)
    noise = np.random.default_rng(derive_seed(seed, "noise")).standard_normal((VIEWS, *clean.shape), dtype=np.float32)
    views = np.clip(clean + np.float32(NOISE) * noise, 0, 1).reshape(-1, 1, 8, 8)
    return DataSet(
        torch.from_numpy(views),
        torch.from_numpy(digits.target.astype(np.int64)).repeat(VIEWS),
        torch.arange(len(clean)).repeat(VIEWS),
        tuple(str(name) for name in digits.target_names),
    )


def halves(seed: int) -> tuple[DataSet, DataSet, DataSet]:
    """Return the digits' owner's half, the attacker's half and the test split, with no image in two of them."""
    owner, attacker, test = split(noisy_digits(seed), (0.42, 0.42, 0.16), seed, "halves")
    return owner, attacker, test


def load_data(
    where: str,
    seed: int,
    part: Literal["owner", "attacker"] = "owner",
    log: Callable[[str], None] = lambda _: None,
    size: Size | None = None,
    folder: Path | None = None,
    in_memory: int = IN_MEMORY,
) -> DataSet:
    """Read somebody's data.

    Args:
        where: `digits`, an `.npz` file or a folder with one folder of images per class.
        seed: the run's seed, for the digits' noise and halves.
        part: whose half of the digits, or of an `.npz` file that a demo wrote.
        log: takes a line of progress, and what is worth a warning.
        size: to which the images of a folder are brought; None where all have one size.
        folder: where many images are kept in a file, instead of in memory; None for memory.
        in_memory: with a folder, bytes as single-precision numbers up to which they are held in memory all the same.

    Returns:
        The images.

    Raises:
        DataError: if it is missing or corrupt, or a class has no image.
    """
    path = Path(where)
    try:
        if where == "digits":
            data = halves(seed)[0 if part == "owner" else 1]
        elif path.is_dir():
            data = read_folder(path, log, size, folder, in_memory)
        elif path.is_file():
            data = read_npz(path, part)
        else:
            raise DataError(
                "no such data", culprit=where, expected="'digits', an .npz file or a folder of class folders"
            )
        require_every_class(data, where)
    except MemoryError as error:
        raise DataError(
            "larger than the memory that there is", culprit=where, hint="give fewer or smaller images"
        ) from error
    except ValueError as error:  # a name that no file can have
        raise DataError(f"no such data ({error})", culprit=f"{where!r:.200}") from error
    height, width = data.inputs.shape[2:]
    if size not in (None, (height, width)):
        raise DataError(
            culprit=where,
            expected=f"images of {size[1]}x{size[0]} pixels (--size)",
            found=f"{width}x{height}",
            hint="only the images of a folder are brought to a size",
        )
    if max(height, width) > LARGE:
        log(
            f"warning: data: images of {width}x{height} pixels train slowly, since every network reads each pixel; "
            f"resize them to at most {LARGE}x{LARGE} if the model permits"
        )
    return data


def load_unlabelled(
    where: str,
    like: DataSet,
    log: Callable[[str], None] = lambda _: None,
    size: Size | None = None,
    folder: Path | None = None,
    in_memory: int = IN_MEMORY,
) -> Inputs:
    """Read images without labels.

    Args:
        where: an `.npz` file with `inputs`, or a folder with images, in it or one folder below.
        like: labelled images, whose channels and size they must have.
        log: as for `load_data`, like all that follows.
        size: to which the images of a folder are brought.
        folder: where many images are kept in a file.
        in_memory: bytes up to which they are held in memory all the same.

    Returns:
        `(n, C, H, W)` float32 in [0, 1].

    Raises:
        DataError: if they are missing, corrupt, or of another shape.
    """
    path = Path(where)
    if path.is_dir():
        files, skipped = loose_images(path)
        _say_skipped(skipped, log)
        inputs = read_images(files, log, size, folder, in_memory)
    elif path.is_file():
        inputs = _as_images(_arrays(path, "owner", ("inputs",))["inputs"], path)
    else:
        raise DataError("no such images", culprit=where, expected="an .npz file or a folder of images")
    check(DataSet(inputs, torch.zeros(len(inputs), dtype=torch.int64), torch.arange(len(inputs)), like.classes))
    found, expected = tuple(inputs.shape[1:]), tuple(like.inputs.shape[1:])
    if found != expected:
        wanted, given = (" x ".join(map(str, shape)) for shape in (expected, found))
        raise DataError(
            culprit=where, where="channels x height x width", expected=wanted, found=given, hint="give --size"
        )
    return inputs


def _say_skipped(files: Sequence[Path], log: Callable[[str], None]) -> None:
    if files:
        log(f"data: {len(files)} files that are no images are skipped, such as {files[0]}")


def read_npz(path: Path, part: str = "owner") -> DataSet:
    """Read `inputs` (n, C, H, W) or (n, H, W), float in [0, 1] or uint8, `labels` (n,) and, if there, `classes`.

    An NPZ file that a demo wrote holds `owner_inputs`, `attacker_inputs` and so on: then one part of it is read.

    Raises:
        DataError: if the file is not such an archive.
    """
    arrays = _arrays(path, part)
    inputs, labels = _as_images(arrays["inputs"], path), _as_labels(arrays["labels"], "labels", path)
    if len(labels) != len(inputs):
        raise DataError(culprit=path, expected="as many labels as inputs", found=f"{len(labels)} and {len(inputs)}")
    count = int(labels.max()) + 1
    if "classes" not in arrays and count > len(labels):
        raise DataError(
            culprit=path,
            expected="labels from 0 to the number of classes - 1, with an image of each class",
            found=f"a label {count - 1} among {len(labels)} images",
        )
    classes = arrays.get("classes", np.arange(count))
    if classes.ndim != 1 or classes.dtype.kind not in "Uiu":
        raise DataError(culprit=path, expected="classes (n,) of texts", found=f"{classes.dtype} {classes.shape}")
    images = _as_labels(arrays["images"], "images", path) if "images" in arrays else np.arange(len(inputs))
    if len(images) != len(inputs):
        raise DataError(culprit=path, expected="as many images as inputs", found=f"{len(images)} and {len(inputs)}")
    return DataSet(
        inputs, torch.from_numpy(labels), torch.from_numpy(images), tuple(str(name) for name in classes.tolist())
    )


def _arrays(path: Path, part: str, needed: tuple[str, ...] = ("inputs", "labels")) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one part, named without it."""
    names = " and ".join(f"{name!r}" for name in needed)
    expected = f"expected an .npz file (numpy.savez) with array{'s' * (len(needed) > 1)} {names}"
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > MAX_DATA:
            raise DataError(
                f"{total / 2**30:.3g} GiB of arrays, at most {MAX_DATA // 2**30} are allowed",
                culprit=path,
                hint="give fewer images",
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            prefix = f"{part}_" if f"{part}_inputs" in archive.files else ""
            missing = [name for name in needed if prefix + name not in archive.files]
            if missing:
                raise DataError(expected, culprit=path, found=f"{sorted(archive.files)!r:.200}")
            wanted = {"inputs": prefix + "inputs", "labels": prefix + "labels", "images": prefix + "images"}
            wanted["classes"] = "classes"
            arrays = {name: archive[entry] for name, entry in wanted.items() if entry in archive.files}
    except (DataError, MemoryError):
        raise
    # NumPy raises what its parts raise: ValueError for objects, zlib.error, SyntaxError for a damaged header …
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"not a readable .npz file without Python objects ({reason}); {expected}", culprit=path
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy hands out the bytes of members that are no arrays
            raise DataError(f"'{name}' is not a readable array; {expected}", culprit=path)
    return arrays


def _as_labels(array: npt.NDArray[Any], name: str, path: Path) -> npt.NDArray[np.int64]:
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) == 0:
        raise DataError(culprit=path, expected=f"integer {name} (n,)", found=f"{array.dtype} {array.shape}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= 2**63:
        raise DataError(culprit=path, expected=f"{name} from 0 upward", found=f"{low} to {high}")
    return array.astype(np.int64)


def _as_images(array: npt.NDArray[Any], path: Path) -> torch.Tensor:
    expected = "expected inputs (n, 1 or 3, H, W) or (n, H, W)"
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        raise DataError(
            expected, culprit=path, found=array.shape, hint="move the channels forward: inputs.transpose(0, 3, 1, 2)"
        )
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or array.size == 0:
        raise DataError(
            f"{expected} with at least one image and pixel", culprit=path, found=f"{array.dtype} {array.shape}"
        )
    if 4 * array.size > MAX_DATA:
        size = 4 * array.size / 2**30
        raise DataError(
            f"{len(array)} images would take {size:.3g} GiB of memory, at most {MAX_DATA // 2**30} are allowed",
            culprit=path,
            hint="give fewer or smaller ones",
        )
    if array.dtype == np.uint8:
        return torch.from_numpy(array.astype(np.float32) / np.float32(255))
    if array.dtype.kind != "f":
        raise DataError(culprit=path, expected="uint8 inputs or floats in [0, 1]", found=array.dtype)
    with np.errstate(over="ignore"):  # what becomes infinite is refused later
        return torch.from_numpy(array.astype(np.float32))


def read_folder(
    path: Path,
    log: Callable[[str], None] = lambda _: None,
    size: Size | None = None,
    folder: Path | None = None,
    in_memory: int = IN_MEMORY,
) -> DataSet:
    """Read a folder with one folder of images per class, by the rules of `images`.

    Args:
        path: the folder.
        log: takes lines of progress.
        size: to which each image is brought; None where all have one size.
        folder: where many images are kept in a file; None to hold them in memory.
        in_memory: as `load_data` takes it.

    Raises:
        DataError: for a class without images, a file that is no image, or images of different sizes.
    """
    folders = class_folders(path)
    _say_skipped([file for entry in folders for file in entry.skipped], log)
    inputs = read_images([file for entry in folders for file in entry.files], log, size, folder, in_memory)
    labels = torch.tensor([label for label, entry in enumerate(folders) for _ in entry.files])
    return DataSet(inputs, labels, torch.arange(len(inputs)), tuple(entry.name for entry in folders))
