"""From the one configuration to each process's own settings; a module a process, as each imports what it configures."""
