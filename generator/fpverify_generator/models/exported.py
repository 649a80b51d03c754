"""Reads `torch.export` files (.pt2) so that no code in them is run.

PyTorch's own loader unpickles members of the archive without limits, evaluates expressions and guards that stand in its
JSON as text, and looks functions up by any name. Here every part is checked first, and what PyTorch sees is a new
archive in memory that holds the checked parts alone: it never sees the file itself.

- Pickles must be such that `torch.load(weights_only=True)` reads them: tensors in plain containers.
- The graph may call PyTorch's own operators on tensors (`torch.ops.aten` and the like) and arithmetic, nothing else.
- Names must be plain, and expressions must be arithmetic on symbols.
- Compiled code (AOTInductor, ExecuTorch), objects of other classes and unknown members are refused.
- Extra files, the graph's metadata and its guards are left out.

The program is then run by PyTorch, which makes no promise that operators withstand hostile arguments.
"""

import ast
import copy
import hashlib
import io
import json
import logging
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from fpverify.text import one_line
from fpverify_generator.errors import SourceError

MAX_BYTES = 2**33
"""Bytes of an archive, unpacked."""

MAX_MEMBERS = 100_000
"""Members of an archive."""

MAX_JSON = 2**28
"""Bytes of one JSON member."""

MODEL = "models/model.json"
SAMPLE = "data/sample_inputs/model.pt"
CONFIGS = {"data/weights/": "model_weights_config.json", "data/constants/": "model_constants_config.json"}
"""Folders of tensors, and the member of each that says how they are read."""

PLAIN = frozenset(
    {"archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", "version"}
)
"""Members that hold one word."""

COMPILED = (".so", ".dylib", ".dll", ".o", ".cubin", ".hsaco", ".ptx", ".cpp", ".cu", ".pte")
"""How the names of compiled members and their sources end."""

OPERATORS = re.compile(r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|torchvision|higher_order)(\.\w+){1,2}")
NOT_OPERATORS = frozenset({"save", "from_file", "_print", "warn"})
"""Operators that write, read files or print."""
SUBGRAPH_OPERATORS = frozenset(
    {"cond", "map_impl", "scan", "while_loop", "wrap_with_autocast", "wrap_with_set_grad_enabled"}
)
ARITHMETIC = frozenset(
    [
        "_operator.add",
        "_operator.sub",
        "_operator.mul",
        "_operator.truediv",
        "_operator.floordiv",
        "_operator.mod",
        "_operator.pow",
        "_operator.neg",
        "_operator.pos",
        "_operator.eq",
        "_operator.ne",
        "_operator.lt",
        "_operator.le",
        "_operator.gt",
        "_operator.ge",
        "_operator.and_",
        "_operator.or_",
        "_operator.not_",
        "_operator.getitem",
        "math.ceil",
        "math.floor",
        "math.trunc",
        "math.sqrt",
        "torch.sym_int",
        "torch.sym_float",
        "torch.sym_max",
        "torch.sym_min",
        "torch.sym_not",
        "torch.sym_ite",
        "torch.sym_sum",
        "torch._check",
        "torch._check_is_size",
    ]
)
"""Functions of sizes and symbols."""

FUNCTIONS = frozenset(
    [
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Pow",
        "Mod",
        "Max",
        "Min",
        "Abs",
        "floor",
        "ceiling",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
        "Not",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "CleanDiv",
        "CeilToInt",
        "FloorToInt",
        "CeilDiv",
        "IntTrueDiv",
        "FloatTrueDiv",
        "ToFloat",
        "RoundToInt",
        "RoundDecimal",
        "TruncToInt",
        "TruncToFloat",
        "FloatPow",
        "PowByNatural",
        "LShift",
        "RShift",
        "Identity",
    ]
)
"""What an expression of sizes may call."""

NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.BitAnd, ast.BitOr),
)
"""What an expression of sizes may consist of."""

NAME = re.compile(r"[\w.-]{0,500}", re.ASCII)
IDENTIFIER = re.compile(r"[A-Za-z_]\w{0,500}|", re.ASCII)
WORDS = re.compile(r"[\w ,.>:-]{0,200}", re.ASCII)


class _RefusedError(Exception):
    """Why an archive is refused; begins with what is refused."""


class Program(torch.nn.Module):
    """A program with its file's bytes, from which another process loads it anew: PyTorch's own cannot be sent."""

    def __init__(self, content: bytes, where: str, program: torch.nn.Module, sha256: str) -> None:
        super().__init__()
        self.content, self.where, self.program, self.sha256 = content, where, program, sha256
        self.requires_grad_(False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the program returns."""
        found: torch.Tensor = self.program(inputs)
        return found

    def extra_repr(self) -> str:
        """Return what tells it from other programs: tensors alone do not say what is done with them."""
        return self.sha256

    def __deepcopy__(self, memo: dict[int, Any]) -> "Program":
        return Program(self.content, self.where, copy.deepcopy(self.program, memo), self.sha256)

    def __reduce__(self) -> tuple[Any, ...]:
        return _sent, (self.content, self.where, dict(self.state_dict()))


def _sent(content: bytes, where: str, state: dict[str, torch.Tensor]) -> Program:
    program = load_exported(content, where)
    program.load_state_dict(state)
    return program


def load_exported(content: bytes, where: str) -> Program:
    """Load a program from the bytes of a `torch.export` file, without running code in them.

    Args:
        content: the whole file.
        where: names it in errors.

    Returns:
        The program as a module.

    Raises:
        SourceError: if it is no such file, or holds what could run code.
    """
    try:
        archive = _rewritten(_members(content))
    except _RefusedError as error:
        raise SourceError(
            f"refused: {one_line(str(error), 300)}",
            culprit=where,
            expected="a file of torch.export.save that holds operators, tensors and plain sample inputs alone",
        ) from error
    except RecursionError as error:
        raise SourceError("refused: its graph is nested too deeply", culprit=where) from error
    # PyTorch logs the traceback of what it then raises.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():  # PyTorch before 2.13 says that it reads the archive's bytes without a copy
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            program = torch.export.load(archive).module()
    except Exception as error:
        raise SourceError(f"not a torch.export program ({_first_line(error)})", culprit=where) from error
    finally:
        logging.disable(before)
    return Program(content, where, program, hashlib.sha256(content).hexdigest())


def _members(content: bytes) -> dict[str, bytes]:
    """Return an archive's members by name, without the root folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MAX_MEMBERS or sum(entry.file_size for entry in entries) > MAX_BYTES:
                size = sum(entry.file_size for entry in entries) / 2**30
                raise _RefusedError(
                    f"{len(entries)} members of {size:.3g} GiB, at most {MAX_MEMBERS} of {MAX_BYTES // 2**30} GiB"
                )
            found: dict[str, bytes] = {}
            for entry in entries:
                _, _, name = entry.filename.partition("/")
                if name in found:
                    raise _RefusedError(f"the member '{entry.filename}' is there twice")
                with archive.open(entry) as member:
                    found[name] = member.read(entry.file_size + 1)
            roots = {entry.filename.partition("/")[0] for entry in entries}
    except _RefusedError:
        raise
    # zipfile raises what its parts raise, `zlib.error` and `struct.error` among them
    except Exception as error:
        raise _RefusedError(
            f"not a torch.export program: no zip archive that can be read ({_first_line(error)})"
        ) from error
    if len(roots) != 1 or MODEL not in found:
        old = "version" in roots or "serialized_exported_program.json" in roots
        hint = "written by a PyTorch before 2.8, export it again" if old else f"no member '{MODEL}' in one folder"
        raise _RefusedError(f"not a torch.export program of today's format: {hint}")
    return found


def _rewritten(members: Mapping[str, bytes]) -> io.BytesIO:
    """Return a new archive of the members that were checked and are needed."""
    kept = {MODEL: _checked_model(members[MODEL])}
    for name, content in members.items():
        folder = next((folder for folder in CONFIGS if name.startswith(folder)), None)
        if name.endswith(COMPILED) or name.startswith(("data/aotinductor/", "data/executorch/", "data/mtia")):
            raise _RefusedError(f"the member '{name}' is compiled code")
        if name == SAMPLE:
            _check_pickle(name, content)
        elif name in PLAIN:
            if not WORDS.fullmatch(content.decode("latin-1").strip()):
                raise _RefusedError(f"the member '{name}' is no word")
        elif name == MODEL or name.startswith("extra/"):
            continue
        elif folder is None or not NAME.fullmatch(name.removeprefix(folder)):
            raise _RefusedError(f"the member '{name}' is unknown")
        kept[name] = content
    for folder, config in CONFIGS.items():
        _check_payloads(folder, config, kept)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, content in kept.items():
            file.writestr(f"model/{name}", content)
    archive.seek(0)
    return archive


def _check_payloads(folder: str, config: str, members: dict[str, bytes]) -> None:
    """Check each tensor of a folder, and drop what its configuration does not name."""
    if folder + "model.pt" in members:
        raise _RefusedError(f"the member '{folder}model.pt' is of a format before PyTorch 2.9; export it again")
    if folder + config not in members:
        raise _RefusedError(f"there is no member '{folder}{config}'")
    payloads = _json(folder + config, members[folder + config]).get("config")
    if not isinstance(payloads, dict):
        raise _RefusedError(f"the member '{folder}{config}' has no 'config'")
    _check_texts(payloads, folder + config)
    named = {config}
    for payload in payloads.values():
        path = payload.get("path_name") if isinstance(payload, dict) else None
        if not isinstance(path, str) or not path.startswith(("weight_", "tensor_")):
            raise _RefusedError(f"the member '{folder}{path}' is an object of another class than torch.Tensor")
        if folder + path not in members:
            raise _RefusedError(f"there is no member '{folder}{path}'")
        if payload.get("use_pickle") is not False:
            _check_pickle(folder + path, members[folder + path])
        named.add(path)
    for name in [name for name in members if name.startswith(folder) and name.removeprefix(folder) not in named]:
        del members[name]


def _check_pickle(name: str, content: bytes) -> None:
    try:
        # An empty member says that there are no sample inputs.
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True) if content else None
    except Exception as error:
        found = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise _RefusedError(f"the member '{name}' needs a pickle that can run code{what}") from error


def _json(name: str, content: bytes) -> dict[str, Any]:
    if len(content) > MAX_JSON:
        raise _RefusedError(f"the member '{name}' is longer than {MAX_JSON // 2**20} MiB")
    try:
        found = json.loads(content)
    except ValueError as error:
        raise _RefusedError(f"the member '{name}' is no JSON") from error
    if not isinstance(found, dict):
        raise _RefusedError(f"the member '{name}' is no JSON object")
    return found


def _checked_model(content: bytes) -> bytes:
    """Return the graph's JSON without metadata and guards, after a check of every text in it."""
    model = _json(MODEL, content)
    model["guards_code"] = []
    ranges = model.get("range_constraints")
    for expression in ranges if isinstance(ranges, dict) else ():
        _check_expression(expression)
    _check_texts({name: value for name, value in model.items() if name != "range_constraints"}, MODEL)
    _check_texts(list(ranges.values()) if isinstance(ranges, dict) else ranges, MODEL)
    return json.dumps(model).encode()


def _check_texts(value: Any, where: str, key: str = "") -> None:
    """Check every text below a value, names of fields too, and empty each node's metadata."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict):
            value["metadata"] = {}
        for name, below in value.items():
            if not NAME.fullmatch(name):
                raise _RefusedError(f"'{where}' has a name that is none: {name!r:.80}")
            _check_texts(below, where, name)
    elif isinstance(value, list):
        for below in value:
            _check_texts(below, where, key)
    elif isinstance(value, str):
        _check_text(value, where, key)


def _check_text(text: str, where: str, key: str) -> None:
    if key == "target":
        _check_target(text)
    elif key == "expr_str":
        _check_expression(text)
    elif key in ("in_spec", "out_spec"):
        _check_tree(text)
    elif key in ("name", "as_name", "forward_arg_names"):
        if not IDENTIFIER.fullmatch(text):
            raise _RefusedError(f"'{where}' has a name that is none: {text!r:.80}")
    elif key in ("as_string", "as_strings", "torch_version"):
        if not WORDS.fullmatch(text.replace("+", "")):
            raise _RefusedError(f"'{where}' has a text that no operator needs: {text!r:.80}")
    elif not NAME.fullmatch(text):
        raise _RefusedError(f"'{where}' has an unexpected text as '{key}': {text!r:.80}")


def _check_target(target: str) -> None:
    found = OPERATORS.fullmatch(target)
    parts = target.split(".")
    allowed = target in ARITHMETIC
    if found is not None:
        allowed = parts[3] not in NOT_OPERATORS and (found[1] != "higher_order" or parts[3] in SUBGRAPH_OPERATORS)
        # `__and__` and its like are operators; `__class__` and its like are not
        allowed = allowed and not any(part.startswith("__") for part in (parts[3:] if len(parts) > 4 else ()))
        allowed = allowed or (
            len(parts) > 4 and parts[3] in ("__and__", "__or__", "__xor__", "__lshift__", "__rshift__")
        )
    if not allowed:
        raise _RefusedError(f"its graph calls {target!r:.80}, which is no operator on tensors")


def _check_expression(text: str) -> None:
    """Check that an expression of sizes is arithmetic: SymPy evaluates it."""
    try:
        tree = ast.parse(text, mode="eval") if len(text) <= 10_000 else None
    except (SyntaxError, ValueError, MemoryError):
        tree = None
    for node in ast.walk(tree) if tree is not None else (None,):
        good = isinstance(node, NODES)
        if isinstance(node, ast.Call):
            good = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        elif isinstance(node, ast.Name):
            good = "__" not in node.id
        elif isinstance(node, ast.Constant):
            value = node.value
            good = isinstance(value, int | float) or (
                isinstance(value, str) and IDENTIFIER.fullmatch(value) is not None
            )
            good = good or (isinstance(value, str) and re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", value) is not None)
        if not good:
            raise _RefusedError(f"its graph has a size that is no arithmetic: {text!r:.80}")


def _check_tree(text: str) -> None:
    """Check a structure of inputs or outputs: plain containers, and names of keyword arguments."""

    def plain(spec: Any) -> bool:
        if not isinstance(spec, dict) or set(spec) != {"type", "context", "children_spec"}:
            return False
        context = json.loads(spec["context"]) if isinstance(spec["context"], str) else spec["context"]
        names = context if isinstance(context, list) else []
        return (
            spec["type"] in (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
            and (context is None or isinstance(context, list))
            and all(isinstance(name, str) and IDENTIFIER.fullmatch(name) for name in names)
            and isinstance(spec["children_spec"], list)
            and all(plain(child) for child in spec["children_spec"])
        )

    try:
        good = plain(json.loads(text)[1])
    except (ValueError, KeyError, IndexError, TypeError):
        good = False
    if not good:
        raise _RefusedError(f"its inputs or outputs are no plain containers of tensors: {text!r:.80}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
