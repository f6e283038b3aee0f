"""``python -m server`` is the command line."""

from server.command_line import main

main()
