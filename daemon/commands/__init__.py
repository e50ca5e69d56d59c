"""The subcommands of `vigild`, one idea a file; daemon/cli.py puts them together."""
