"""Numbers and texts that programs trip over."""

INTEGERS = (0, 1, -1, 2, 9, 64, 127, 128, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "a\nb", "\x1b[2J\x07", "\u202eabc", "\0", "é\U0001f600", "x" * 5000, "a'b\"c\\", "%s%n{0}", " ", "input")
