"""A file that other readers of ONNX would read otherwise is refused, and no text makes reading long or large."""

import time

import onnx
import pytest
from onnx import TensorProto, helper

from fpverify import SuspectError
from fpverify.onnx_format import read_onnx_header, survey_model
from fpverify.onnx_format.protobuf import MAX_TEXT_BYTES, MAX_TEXTS_BYTES
from fpverify.suspects.classes import classes_in_metadata


def number(value):
    content = b""
    while True:
        content += bytes([(value & 0x7F) | (0x80 if value > 0x7F else 0)])
        value >>= 7
        if not value:
            return content


def field(position, content):
    """A field of text or of a message if `content` is bytes, else of a number."""
    if isinstance(content, bytes):
        return number(position << 3 | 2) + number(len(content)) + content
    return number(position << 3) + number(content)


def tensor(*entries, more=b""):
    """A model whose one weight has these entries of external data."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1]).SerializeToString()
    return field(7, field(5, weight + more + b"".join(field(13, entry) for entry in entries)))


LOCATION = onnx.StringStringEntryProto(key="location", value="w.bin").SerializeToString()

READ_OTHERWISE = {
    "a key again as a number": tensor(LOCATION + field(1, 5)),
    "a key again": tensor(LOCATION + field(1, b"offset")),
    "a location again": tensor(LOCATION + field(2, b"other.bin")),
    "a location as a number": tensor(field(1, b"location") + field(2, 5)),
    "an element type as a text": tensor(more=field(2, b"x")),
    "two element types": tensor(more=field(2, 9)),
    "two names": tensor(more=field(8, b"other")),
    "an entry as a number": field(7, field(5, field(13, 1))),
    "an operator as a number": field(7, field(1, field(4, b"RandomNormal") + field(4, 1))),
    "two operators": field(7, field(1, field(4, b"RandomNormal") + field(4, b"Relu"))),
    "an attribute as a number": field(7, field(1, field(4, b"Dropout") + field(5, 1))),
    "an attribute of two names": field(7, field(1, field(4, b"BatchNormalization") + field(5, field(1, b"a") * 2))),
    "a node as a number": field(7, field(1, 1)),
}


@pytest.mark.parametrize("name", READ_OTHERWISE)
def test_what_readers_read_otherwise_is_refused_before_it_is_run(name):
    with pytest.raises(SuspectError, match="not an ONNX model"):
        survey_model(READ_OTHERWISE[name])


def test_a_location_is_text_of_a_files_length():
    with pytest.raises(SuspectError, match="no UTF-8"):
        survey_model(tensor(field(1, b"location") + field(2, b"a\xff.bin")))
    with pytest.raises(SuspectError, match="4096 bytes"):
        survey_model(tensor(field(1, b"location") + field(2, b"a" * 4097)))
    assert survey_model(tensor(LOCATION)).external == ("w.bin",)


def header(changed=b"", value=b""):
    """A model's bytes with something added to it, or to the description of its input."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]).SerializeToString()
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]).SerializeToString()
    graph = field(11, given + value) + field(12, result)
    return field(1, 8) + field(7, graph) + field(8, field(2, 17)) + changed


INPUT_TYPE = helper.make_tensor_type_proto(TensorProto.UINT8, [1]).SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        header(field(14, field(1, b"classes") + field(1, 3) + field(2, b"a,b"))),
        header(field(14, field(1, b"classes") + field(2, b"a,b") + field(2, b"b,a"))),
        header(field(14, 3)),
        header(field(8, field(2, 17) + field(2, 18))),
        header(value=field(1, b"z")),
        header(value=field(2, INPUT_TYPE)),
        header(value=field(1, 1)),
    ],
)
def test_a_description_that_readers_read_otherwise_is_refused(content):
    assert [one.name for one in read_onnx_header(header()).inputs] == ["x"]
    with pytest.raises(SuspectError, match="not an ONNX model"):
        read_onnx_header(content)


def test_a_dimension_has_a_number_or_a_name():
    size = field(1, field(1, 3) + field(2, b"n"))
    kind = field(1, field(1, 1) + field(2, size))
    content = field(7, field(11, field(1, b"x") + field(2, kind))) + field(8, field(2, 17))
    with pytest.raises(SuspectError, match="a number and a name"):
        read_onnx_header(content)


def test_all_texts_of_a_file_have_one_budget():
    text = b"a" * MAX_TEXT_BYTES
    entries = [field(14, field(1, b"%d" % place) + field(2, text)) for place in range(MAX_TEXTS_BYTES // len(text))]
    with pytest.raises(SuspectError, match="names and metadata"):
        read_onnx_header(header(b"".join(entries)))
    assert len(read_onnx_header(header(b"".join(entries[:-1]))).metadata) == len(entries) - 1
    with pytest.raises(SuspectError, match="10000 entries"):
        read_onnx_header(header(b"".join(field(14, field(1, b"%d" % place)) for place in range(10_001))))


@pytest.mark.parametrize("text", ["1" * 2**20, "1 " * 2**19, "1:'" * 300_000, "1:\"'" * 250_000, "1:" + " " * 2**20])
def test_the_time_for_a_list_of_classes_grows_with_its_length_alone(text):
    def seconds(part):
        start = time.process_time()
        classes_in_metadata({"classes": part[: 2**20]})
        return time.process_time() - start

    seconds(text[:1000])
    assert seconds(text) < 2.0  # it took hours
