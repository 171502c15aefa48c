"""The ``depotwatch`` command: one table of sub-commands, one place where errors become one line and exit 2."""

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import warnings

from imagery.errors import DepotwatchError

COMMANDS = {
    "analyse": "run the whole job once: archive + AOI -> report files",
    "register": "co-register any two rasters",
    "simulate": "render a site series with its truth",
    "could-we-have-seen": "plant rendered objects into a site's own looks and report the recall",
    "demo": "serve with the sample site loaded and analysed",
    "serve": "API, page and workers in one process group",
    "api": "the API alone",
    "worker": "a worker alone",
    "archive": "add, index or list archives",
    "site": "add or list sites",
    "report": "fetch the latest report of a site",
    "digest": "write what became known on a day over all sites",
    "reprocess": "re-run sites in batch, resumable",
    "compare": "compare two reports of one site",
    "verify": "replay an evidence bundle and compare hashes",
    "keys": "create, list or revoke API keys",
    "products": "list or collect stored products",
    "backup": "save database and reports",
    "restore": "bring a backup back",
}


def _available() -> dict[str, str]:
    """Return the commands whose module ships with this version."""
    return {
        name: text
        for name, text in COMMANDS.items()
        if importlib.util.find_spec(f"service.commands.{name.replace('-', '_')}") is not None
    }


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in _available().items()]
    return "\n".join(
        [
            "usage: depotwatch COMMAND [options]",
            "",
            "Reports the containers and berms that appeared on or were removed from storage sites.",
            "",
            *lines,
            "",
            "depotwatch COMMAND --help tells the options of one command.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code (0 done, 2 unusable input or usage)."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_usage())
        return 0 if arguments else 2
    name = arguments[0]
    if name == "--version":
        from importlib.metadata import version

        print(version("depotwatch"))
        return 0
    if name not in _available():
        print(f"depotwatch: there is no command {name!r}; depotwatch --help lists them", file=sys.stderr)
        return 2
    module = importlib.import_module(f"service.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=f"depotwatch {name}", description=module.SUMMARY)
    module.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    # A raster without CRS is told in the command's own one line.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    try:
        code = int(module.run(parsed))
        sys.stdout.flush()
        return code
    except DepotwatchError as error:
        from pipelines.archives.claims import one_line  # only now: who meets no error need not wait for it

        where = f" ({error.pointer})" if error.pointer else ""
        print(one_line(f"depotwatch {name}: {error.code}: {error.detail}{where}"), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read had enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"depotwatch {name}: interrupted", file=sys.stderr)
        return 130
