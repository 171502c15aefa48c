"""``depotwatch serve``: API and workers in one process group on the embedded default."""

import argparse

SUMMARY = "Answer HTTP and work off jobs; everything is kept in one data folder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default 8000)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes beside the API (default 1)")
    add_data_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; the address is printed once it answers."""
    from service.options import settings_from
    from service.server import serve
    from service.telemetry import configure_logging

    settings = settings_from(args)
    configure_logging(settings.log_level)

    def announce(address: str) -> None:
        print(address, flush=True)

    return serve(settings, args.host, args.port, max(0, args.workers), announce=announce)
