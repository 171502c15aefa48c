"""The files of a report (CONTRACT section 3): written once, whole or not at all, the same bytes on every run.

``write_report`` makes the folder, ``bundle.write_bundle`` seals it into one zip. Nothing here looks at a clock.
"""

from pipelines.report.write import OutputNotEmpty, OutputNotWritable, check_out, write_report

__all__ = ["OutputNotEmpty", "OutputNotWritable", "check_out", "write_report"]
