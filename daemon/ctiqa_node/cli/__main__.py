"""`python -m ctiqa_node.cli`: the command where no entry point is installed."""

from ctiqa_node.cli import main

main()
