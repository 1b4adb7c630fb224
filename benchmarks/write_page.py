"""Takes the runs in build/bench over into benchmarks/results and docs/performance.md; `make bench-docs` is this."""

from __future__ import annotations

from bench.page import PAGE, blocks, write


def main() -> None:
    """Write the page, and say which run has no place in it."""
    names = write()
    print(f"{PAGE.name}: {', '.join(names) or 'nothing new'}")
    for name in sorted(set(names) - set(blocks(PAGE.read_text(encoding="utf-8")))):
        print(
            f"There are no markers for {name}: put '<!-- bench: {name} -->' and '<!-- end -->' on lines of their own."
        )


if __name__ == "__main__":
    main()
