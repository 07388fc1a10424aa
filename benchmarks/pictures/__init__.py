"""The pictures of the documentation that are drawn: ``python -m benchmarks.pictures`` writes them into ``docs/images``."""
