"""Whether what the models say agrees with what the tags of the source say."""

from __future__ import annotations

from dataclasses import dataclass

from ctiqa_node.report.content import Report, ReportedClassification
from ctiqa_node.report.kernels import window_of_kernel
from ctiqa_node.report.series_header import kernel_of

WINDOW = "chest_ctiqa_window"


@dataclass(frozen=True, slots=True)
class WindowAgreement:
    """The likeliest window class, and the one that the convolution kernel is made for."""

    seen: ReportedClassification
    kernel: str
    expected: str

    @property
    def agrees(self) -> bool:
        """Whether both are the same."""
        return self.seen.label == self.expected

    @property
    def word(self) -> str:
        """The verdict in one word."""
        return "agrees" if self.agrees else "mismatch"

    @property
    def sentence(self) -> str:
        """Both in words."""
        verb = "looks like" if self.agrees else "does not look like"
        return f"the series {verb} {self.expected}, for which kernel {self.kernel} is made"


def window_agreement(report: Report) -> WindowAgreement | None:
    """The window class against the kernel's; None when no model told it, or the kernel's name tells nothing."""
    kernel = kernel_of(report)
    expected = window_of_kernel(kernel)
    classes = [c for model in report.scored for c in model.classifications if c.name == WINDOW]
    if expected is None or not classes:
        return None
    return WindowAgreement(max(classes, key=lambda c: c.probability), kernel, expected)
