"""Imported first: Ctrl-C ends the command with one line while it is still importing the rest."""

from ..console.signals import stop_quietly_until_main

stop_quietly_until_main()
