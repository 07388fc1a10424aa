"""What other monitors of activations and gradients cost on the same networks, and what each of them measures."""
