"""The command `fpverify`, also as `python -m fpverify`.

The suspect's process takes longest to get ready, so it starts before this one has imported its command line.
"""

import sys

from fpverify.sandbox import spawn


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["verify"] and "--help" not in sys.argv:
        spawn.prepare()
    from fpverify.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
