"""Names files and arguments that are often given for a model by mistake, and says what to give instead.

Only beginnings, directories of archives and names are looked at, within stated bounds: the file is untrusted.
"""

import contextlib
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping

from fpverify.errors import SuspectError
from fpverify.onnx_format import read_onnx_header
from fpverify.onnx_format.protobuf import Reader
from fpverify.text import one_line

MAX_BEGINNING = 2**16
"""Bytes at the beginning of a file that are looked at."""

MAX_MEMBERS = 1000
"""Members of an archive, or entries of a folder, that are looked at."""

MAX_DEPTH = 3
"""Folders within folders that are looked at."""

EXPORT = "export the model as ONNX"

MAGIC = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF language model, which is no image classifier",
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19": f"a PyTorch file (a pickle): {EXPORT}",
    b"\x80\x02": f"a pickle, such as PyTorch's or scikit-learn's: {EXPORT}",
    b"\x80\x03": f"a pickle, such as scikit-learn's: {EXPORT}",
    b"\x80\x04": f"a pickle, such as scikit-learn's: {EXPORT}",
    b"\x80\x05": f"a pickle, such as scikit-learn's: {EXPORT}",
    b"\x89HDF": f"an HDF5 file, such as Keras's: {EXPORT}",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"\xfd7zXZ\x00": "an xz archive: unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive: unpack it",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself (git lfs pull)",
}
"""How files begin that are often mistaken for models, and what they are."""

AT_FOUR = {
    b"ORTM": "a model in ONNX Runtime's own format (ORT): give the .onnx file that it was made from",
    b"TFL3": f"a TensorFlow Lite model: {EXPORT}",
}
"""What stands at the fifth byte."""

SCHEMES = re.compile(r"(https?|ftp|s3|gs|hf|file|runs|models|dbfs|abfss?|wasbs?|hdfs):/", re.IGNORECASE)
"""How a URL begins; the second slash is lost where it was made a path."""


def what_is(source: str | os.PathLike[str] | bytes | memoryview, wanted: str = "model") -> str | None:
    """Say what was given instead of a model or a fingerprint.

    Args:
        source: a path or another argument, or a file's content.
        wanted: `model` or `fingerprint`; neither is named as such where it is wanted.

    Returns:
        What it is and what to do, to follow "PATH: "; None if it is what is wanted, or nothing that is known.
    """
    if isinstance(source, bytes | memoryview):
        return _content(memoryview(source), wanted)
    named = what_path(source, wanted)
    if named is not None:
        return named
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):
            return None
        with open(source, "rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        return None
    return _content(whole, wanted)


def what_path(path: str | os.PathLike[str], wanted: str = "model") -> str | None:
    """Say what an argument is that is no path of a file.

    Args:
        path: the argument.
        wanted: as for `what_is`.

    Returns:
        What it is and what to do; None for a file, and for what is not there.
    """
    name = os.fspath(path)
    if not name:
        return "an empty argument: give a file"
    try:
        if os.path.isdir(name):
            return _folder(name, wanted)
        there = os.path.lexists(name)
    except (OSError, ValueError):
        return None
    if there:
        return None
    if name == "-":
        return "stdin is not read: give a file"
    if name.lower().startswith("models:/"):
        return "a model in MLflow's registry: use fpverify registry check"
    return "a URL: download it, and give the file" if SCHEMES.match(name) else None


def data_is(path: str) -> str | None:
    """Say what a file is that should hold a model's weights.

    Args:
        path: a regular file.

    Returns:
        What it is and what to do; None if it can be weights.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.read(4096)
    except OSError:
        return None
    if beginning.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: fetch the file itself (git lfs pull)"
    page = _markup(beginning)
    return page if page is not None and page.startswith("a web page") else None


def newer_than_runtime(message: str, opsets: Mapping[str, int]) -> str | None:
    """Say in one sentence that a model is newer than ONNX Runtime.

    Args:
        message: why ONNX Runtime could not load it.
        opsets: version of each operator set that the file uses, by domain.

    Returns:
        What it needs and what to do, a verb first; None if the message says something else.
    """
    if found := re.search(r"Unsupported model IR version: (\d{1,9}), max supported IR version: (\d{1,9})", message):
        needs, has = f"IR version {found[1]}", f"; this one knows {found[2]} at most"
    elif found := re.search(r"Opset (\d{1,9}) is under development", message):
        most = re.search(r"till opset (\d{1,9})", message)
        domains = [domain for domain, version in opsets.items() if version == int(found[1])]
        of = f" of {one_line(domains[0], 60) or 'ai.onnx'}" if domains else ""
        needs, has = f"operator set {found[1]}{of}", f"; this one knows {most[1]} at most" if most else ""
    else:
        return None
    return (
        f"needs a newer ONNX Runtime: it uses {needs}{has}. Upgrade onnxruntime, or export the model for an older one"
    )


def _content(whole: memoryview, wanted: str) -> str | None:
    beginning = bytes(whole[:MAX_BEGINNING])
    # First: the length that such a file begins with can look like any other format's first bytes.
    if beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") <= 2**30:
        if b'"fpverify"' not in beginning:
            return f"safetensors weights without the network that they belong to: {EXPORT}"
        return None if wanted == "fingerprint" else f"a fingerprint: {_SWAPPED}"
    if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(whole)
    for magic, what in MAGIC.items():
        if beginning.startswith(magic):
            return what
    if beginning[4:8] in AT_FOUR:
        return AT_FOUR[beginning[4:8]]
    if beginning[257:262] == b"ustar":
        return _archive("a tar archive", list(_tar(whole)))
    if beginning and not any(beginning):
        return "a file of zeros, such as a download that broke off"
    if (text := _markup(beginning)) is not None:
        return text
    return _protobuf(whole, wanted)


_SWAPPED = "the two arguments are swapped (fpverify verify SUSPECT -f FINGERPRINT)"


def _markup(beginning: bytes) -> str | None:
    """Name text of any kind."""
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = text[:200].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page, no model: download the raw file"
    if lower.startswith((b"<?xml", b"<error")):
        kind = "an OpenVINO model (XML)" if b"<net" in beginning else "XML, such as a server's error message"
        return f"{kind}: {EXPORT if b'<net' in beginning else 'download the file itself'}"
    if not text or b"\0" in text:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        # The last character may be cut off.
        words = text[:4096].decode("utf-8") if len(text) < 4096 else text[:4093].decode("utf-8", "ignore")
        if all(sign.isprintable() or sign in "\t\r\n\f" for sign in words):
            if words[0] in "[{":
                return "JSON text, not a model: give the .onnx file that it belongs to"
            if set(words) & {"=", ":"}:  # settings, such as an endpoint's, can hold credentials
                return "plain text, not a model: download the file itself"
            return f"plain text, not a model ({one_line(words, 60)!r}): download the file itself"
    return None


def _protobuf(whole: memoryview, wanted: str) -> str | None:
    """Name what is written as ONNX is, in protobuf, without being ONNX."""
    if wanted == "fingerprint":
        with contextlib.suppress(SuspectError):
            read_onnx_header(whole)
            return f"an ONNX model: {_SWAPPED}"
    with contextlib.suppress(SuspectError):
        numbers = [item.number for item, _ in zip(Reader(whole).fields(), range(MAX_MEMBERS), strict=False)]
        if numbers[:2] == [1, 2] and any(200 <= number < 10_000 for number in numbers):
            return f"a Core ML model: {EXPORT}"
        if numbers and set(numbers) <= {1, 2} and numbers[:2] == [1, 2] and bytes(whole[:2]) == b"\x08\x01":
            return f"a TensorFlow SavedModel: {EXPORT} (python -m tf2onnx.convert)"
    return None


def _zip(whole: memoryview) -> str:
    names = list(_zip_names(whole))
    if any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        script = any("/code/" in name for name in names)
        return f"a {'TorchScript' if script else 'PyTorch'} file (a zip with a pickle): {EXPORT} (torch.onnx.export)"
    if any(name.endswith("archive_format") or name.startswith("serialized_exported_program") for name in names):
        return f"a PyTorch exported program (.pt2): {EXPORT} (torch.onnx.export)"
    if any(name.endswith("model.weights.h5") for name in names):
        return f"a Keras model (.keras): {EXPORT} (model.export with format onnx)"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)"
    if any(name.endswith((".mlmodel", "/Manifest.json")) for name in names):
        return f"a Core ML package: {EXPORT}"
    return _archive("a zip archive", names)


def _archive(what: str, names: list[str]) -> str:
    models = [name for name in names if name.lower().endswith(".onnx")]
    if not models:
        return f"{what} without an ONNX model in it"
    shown = one_line(", ".join(models[:3]), 150) + (" …" if len(models) > 3 else "")
    return f"{what} that holds {shown}: unpack it"


def _zip_names(whole: memoryview) -> Iterator[str]:
    """Return the first members of an archive, as its directory has them; none if it has no directory."""
    tail = bytes(whole[-(2**16 + 22) :])
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        return
    count, size, at = struct.unpack_from("<HII", tail, end + 10)
    directory = whole[at : at + min(size, 2**22)]
    place = 0
    for _ in range(min(count, MAX_MEMBERS)):
        if bytes(directory[place : place + 4]) != b"PK\x01\x02" or len(directory) - place < 46:
            return
        name, extra, comment = struct.unpack_from("<HHH", directory, place + 28)
        yield bytes(directory[place + 46 : place + 46 + min(name, 1000)]).decode("utf-8", "replace")
        place += 46 + name + extra + comment


def _tar(whole: memoryview) -> Iterator[str]:
    """Return the first members of an archive."""
    at = 0
    for _ in range(MAX_MEMBERS):
        header = bytes(whole[at : at + 512])
        if len(header) < 512 or not header[0]:
            return
        yield header[:100].rstrip(b"\0").decode("utf-8", "replace")
        size = header[124:136].strip(b"\0 ")
        if not re.fullmatch(rb"[0-7]+", size):
            return
        at += 512 + (int(size, 8) + 511) // 512 * 512


def _folder(name: str, wanted: str) -> str:
    """Say what to give instead of a folder."""
    ending = ".safetensors" if wanted == "fingerprint" else ".onnx"
    files = list(_files(name))
    found = sorted(path for path in files if path.lower().endswith(ending))
    empty = " (an empty argument says the same)" if name == "." else ""
    if len(found) == 1:
        return f"a folder{empty}; give the {wanted} inside: {one_line(found[0], 300)}"
    if found:
        shown = one_line(", ".join(found[:3]), 300) + (" …" if len(found) > 3 else "")
        return f"a folder{empty}; give one {wanted} of those inside: {shown}"
    if any(os.path.basename(path) == "saved_model.pb" for path in files):
        return f"a folder{empty} with a TensorFlow SavedModel: {EXPORT} (python -m tf2onnx.convert)"
    if any(os.path.basename(path) == "config.json" for path in files):
        return f"a folder{empty} with a Hugging Face model: {EXPORT} (optimum-cli export onnx)"
    return f"a folder{empty}, not a file, and no file in it ends in {ending}"


def _files(folder: str) -> Iterator[str]:
    """Return the first files in a folder, and in those in it."""
    left, seen = [(folder, 0)], 0
    while left:
        path, depth = left.pop(0)
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                seen += 1
                if seen > MAX_MEMBERS:
                    return
                if entry.is_dir(follow_symlinks=False):
                    left += [(entry.path, depth + 1)] if depth < MAX_DEPTH else []
                else:
                    yield entry.path
