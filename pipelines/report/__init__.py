"""The files of a report (CONTRACT section 3): written once, whole or not at all, the same bytes on every run.

``write.write_report`` makes the folder, ``bundle.write_bundle`` seals it into one zip. Nothing here looks at a clock.
"""
