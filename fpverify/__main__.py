"""`python -m fpverify`: the command line where no script is installed."""

from fpverify.cli import main

main(prog_name="fpverify")
