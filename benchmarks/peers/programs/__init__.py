"""One module per monitor: ``fit`` trains a network under it, or without it."""
