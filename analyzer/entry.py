"""Where the `model-placer` command begins: an interrupt while modules are imported ends it at once.

Nothing is open yet that had to be closed, and Python would print a traceback.
"""

import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from analyzer.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
