"""Real libraries built on Lightning or with loops of their own, each trained without the monitor and with it."""
