"""Runs the command line as `python -m fpverify_generator`."""

from fpverify_generator.cli import main

if __name__ == "__main__":
    main(prog_name="fpverify-generator")
