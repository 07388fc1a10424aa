"""What a plan does to a training: many networks on small real tasks, from PyTorch's start and from faulty ones."""
