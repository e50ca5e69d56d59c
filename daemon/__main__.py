"""`python -m daemon` is `vigild`; the supervisor starts its children this way."""

from .cli import main

main()
