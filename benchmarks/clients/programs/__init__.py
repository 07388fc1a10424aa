"""One module per library: ``PROGRAM`` says how to train it, and what its structure is when counted by hand."""
