"""The `ctiqa-node` command: one small module for each group of commands."""

import gc


def main() -> None:
    """Run the command line."""
    # What is imported lives as long as the process: looking for rubbish in it costs a tenth of the start. The app turns
    # the search on again before a command runs.
    gc.disable()
    from ctiqa_node.cli.app import main as run

    run()
