"""Figures with intervals, and tables that put ours beside the papers'."""
