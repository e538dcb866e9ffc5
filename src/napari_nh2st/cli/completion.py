"""``nh2st completion``: a script by which a shell completes commands, options and files."""

import argparse

from napari_nh2st.extras import import_extra

SHELLS = ("bash", "zsh", "tcsh")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st completion``."""
    command.add_argument("shell", choices=SHELLS, help="shell that the script is for")
    command.epilog = 'For bash, in ~/.bashrc: eval "$(nh2st completion bash)"'


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st completion``."""
    shtab = import_extra("shtab", "completion", "Shell completion")
    from napari_nh2st.cli.arguments import parser

    # A program that shells read: nothing in it is escaped.
    print(shtab.complete(parser(whole=True), shell=args.shell))
