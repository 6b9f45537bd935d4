"""The operator's command line."""


def main() -> None:
    """Entry point of the `cutover` script."""
    raise SystemExit(2)
