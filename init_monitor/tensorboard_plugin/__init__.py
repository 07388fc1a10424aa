"""The "Init Monitor" tab of TensorBoard: a backend that reads event files; the page itself is in ``page/static``."""
