"""Glue's way to read arguments, as far as a job needs it for `Job.init`."""


def getResolvedOptions(argv: list[str], options: list[str]) -> dict[str, str]:  # noqa: N802  (Glue's name)
    return {name: argv[argv.index(f"--{name}") + 1] for name in options}
