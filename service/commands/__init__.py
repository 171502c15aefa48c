"""One module per sub-command: ``SUMMARY``, ``add_arguments(parser)`` and ``run(args) -> exit code``.

``service.cli`` imports a command's module only when that command is asked for.
"""
