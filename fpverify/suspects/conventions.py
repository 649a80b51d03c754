"""What image classifiers in wide use expect: element types, ranges, normalisations."""

from fpverify.contract import Values

ELEMENT_TYPES = {
    "float": "f4",
    "float16": "f2",
    "double": "f8",
    "bfloat16": "u2",  # its bits: NumPy has no such type
    "uint8": "u1",
    "int8": "i1",
    "uint16": "u2",
    "int32": "i4",
    "int64": "i8",
}
"""Element types that an image can have, and NumPy's name of what is handed over."""

WHOLE = {
    "uint8": Values(low=0.0, high=255.0),
    "int8": Values(low=-128.0, high=127.0),
    "uint16": Values(low=0.0, high=255.0),
    "int32": Values(low=0.0, high=255.0),
    "int64": Values(low=0.0, high=255.0),
}
"""Ranges of whole numbers."""

NOMINAL_RANGES = {
    "NominalRange_0_255": Values(low=0.0, high=255.0),
    "Normalized_0_1": Values(),
    "Normalized_1_1": Values(low=-1.0, high=1.0),
    "NominalRange_16_235": Values(low=16.0, high=235.0),
}
"""What the metadata entry Image.NominalPixelRange can say (ONNX, docs/MetadataProps.md)."""

PIXEL_FORMATS = {"Gray8": "grey", "Rgb8": "rgb", "Bgr8": "bgr"}
"""What the metadata entry Image.BitmapPixelFormat can say."""

NORMALISATIONS: dict[str, tuple[Values, ...]] = {
    "rgb": (
        Values(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),  # ImageNet
        Values(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)),  # CIFAR-10, over all pixels
        Values(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.201)),  # CIFAR-10, as often copied
        Values(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),  # CIFAR-100
        Values(low=0.0, high=255.0, mean=(123.68, 116.779, 103.939)),  # ImageNet, means alone
    ),
    "grey": (
        Values(mean=(0.1307,), std=(0.3081,)),  # MNIST
        Values(mean=(0.286,), std=(0.353,)),  # Fashion-MNIST
    ),
}
"""Normalisations in wide use, for three channels and for one."""

RANGES = (Values(), Values(low=0.0, high=255.0), Values(low=-1.0, high=1.0))
"""Ranges in wide use, without normalisation."""
