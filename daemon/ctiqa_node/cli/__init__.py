"""The `ctiqa-node` command: one small module for each group of commands."""

from ctiqa_node.cli.app import main

__all__ = ["main"]
