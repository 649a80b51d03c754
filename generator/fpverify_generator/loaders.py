"""Reads the owner's data: scikit-learn's digits under sensor noise, an NPZ file, or a folder of images."""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError

from fpverify_generator.data import DataSet, require_every_class, split
from fpverify_generator.errors import DataError
from fpverify_generator.seeds import derive_seed

NOISE = 0.3
"""Standard deviation of the digits' pixel noise, as a fraction of the input range."""
VIEWS = 4
"""How many noisy views of each digit there are; a split never parts them."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


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


def load_data(where: str, seed: int, part: Literal["owner", "attacker"] = "owner") -> DataSet:
    """Read somebody's data.

    Args:
        where: `digits`, an `.npz` file or a folder with one folder of images per class.
        seed: the run's seed, for the digits' noise and halves.
        part: whose half of the digits, or of an `.npz` file that a demo wrote.

    Returns:
        The images.

    Raises:
        DataError: if it is missing or corrupt, or a class has no image.
    """
    path = Path(where)
    if where == "digits":
        data = halves(seed)[0 if part == "owner" else 1]
    elif path.is_dir():
        data = read_folder(path)
    elif path.is_file():
        data = read_npz(path, part)
    else:
        raise DataError(f"{where}: no such data; expected 'digits', an .npz file or a folder of class folders")
    require_every_class(data, where)
    return data


def read_npz(path: Path, part: str = "owner") -> DataSet:
    """Read `inputs` (n, C, H, W) or (n, H, W), float in [0, 1] or uint8, `labels` (n,) and, if there, `classes`.

    An NPZ file that a demo wrote holds `owner_inputs`, `attacker_inputs` and so on: then one part of it is read.

    Raises:
        DataError: if the file is not such an archive.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file without Python objects ({error})") from error
    prefix = f"{part}_" if f"{part}_inputs" in arrays else ""
    missing = [name for name in ("inputs", "labels") if prefix + name not in arrays]
    if missing:
        raise DataError(f"{path}: expected arrays 'inputs' and 'labels', found {sorted(arrays)}")
    inputs, labels = _as_images(arrays[prefix + "inputs"], path), arrays[prefix + "labels"]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or len(labels) == 0:
        raise DataError(f"{path}: expected integer labels (n,), found {labels.dtype} {labels.shape}")
    classes = arrays.get("classes", np.arange(max(0, int(labels.max())) + 1))
    images = arrays.get(prefix + "images", np.arange(len(inputs)))
    return DataSet(
        inputs,
        torch.from_numpy(labels.astype(np.int64)),
        torch.from_numpy(images.astype(np.int64)),
        tuple(str(name) for name in classes.tolist()),
    )


def _as_images(array: npt.NDArray[np.generic], path: Path) -> torch.Tensor:
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DataError(f"{path}: expected inputs (n, 1 or 3, H, W), found {array.dtype} {array.shape}")
    if array.dtype == np.uint8:
        return torch.from_numpy(array.astype(np.float32) / np.float32(255))
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{path}: expected uint8 inputs or floats in [0, 1], found {array.dtype}")
    return torch.from_numpy(array.astype(np.float32))


def read_folder(path: Path) -> DataSet:
    """Read a folder with one folder of images per class; the sorted folder names are the classes.

    Raises:
        DataError: for a class without images, a file that is no image, or images of different sizes.
    """
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{path}: expected one folder of images per class, found none")
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder}: class '{folder.name}' has no image ({', '.join(sorted(SUFFIXES))})")
        files += found
        labels += [label] * len(found)
    grey = _read_image(files[0]).ndim == 2
    arrays = [_read_image(file, grey) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(f"{file}: {array.shape[:2]} pixels, but {files[0]} has {arrays[0].shape[:2]}; resize them")
    stacked = np.stack(arrays)
    pixels = stacked[:, None] if grey else stacked.transpose(0, 3, 1, 2)
    inputs = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(255))
    names = tuple(folder.name for folder in folders)
    return DataSet(inputs, torch.tensor(labels), torch.arange(len(inputs)), names)


def _read_image(file: Path, grey: bool | None = None) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            grey = image.mode in ("1", "L", "I;16") if grey is None else grey
            return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: not a readable image ({error})") from error
