"""The command `fpverify`, also as `python -m fpverify`.

The suspect's process takes longest to get ready, so it starts before this one has imported its command line.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    # Python puts the current folder first. It may be the suspect's, with a click.py in it; neither this process nor the
    # suspect's, which gets this path, may import that. An entry of PYTHONPATH for the same folder stays.
    del sys.path[0]

from fpverify import crash
from fpverify.sandbox import spawn


def main() -> None:
    """Run the command line."""
    try:
        if sys.argv[1:2] == ["verify"] and "--help" not in sys.argv:
            spawn.prepare()
        from fpverify.cli import main as command_line

        command_line()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        crash.complain_about(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
