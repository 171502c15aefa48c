"""``depotwatch api``: the API alone, for many machines."""

import argparse

SUMMARY = "Answer HTTP only; workers run elsewhere on the same database and artefact store."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default 8000)")
    add_data_options(parser)


def run(args: argparse.Namespace) -> int:
    """Answer until stopped; the address is printed once it answers."""
    from service.options import settings_from
    from service.server import serve
    from service.telemetry import configure_logging

    settings = settings_from(args)
    configure_logging(settings.log_level)

    def announce(address: str) -> None:
        print(address, flush=True)

    return serve(settings, args.host, args.port, 0, announce=announce)
