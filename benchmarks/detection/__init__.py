"""How well the monitor judges: faulty and healthy trainings, each with a label verified without it."""

from benchmarks.detection.real_models import declare_operators

# Here, because every module of the package comes after it: Lightning imports torchvision where it finds it.
declare_operators()
