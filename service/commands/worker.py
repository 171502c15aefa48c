"""``depotwatch worker``: works off units and watches archives, until told to stop."""

import argparse

SUMMARY = "Work off jobs and watch archives; any number may run on one database."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    add_data_options(parser)
    parser.add_argument("--parent", type=int, help="stop when this is no longer the parent process")
    parser.add_argument("--job", help="work on this job only")


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM; the unit in hand is finished or given back."""
    from service.options import settings_from
    from service.telemetry import configure_logging
    from service.worker_process import run_worker

    settings = settings_from(args)
    configure_logging(settings.log_level)
    return run_worker(settings, parent=args.parent, job=args.job)
