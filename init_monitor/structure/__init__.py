"""Structure: what the network is made of and how its signal flows, seen from one executed forward."""
