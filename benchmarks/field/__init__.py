"""What the monitor says about common mistakes in a training program: is it right, in time, and nothing else?"""

from benchmarks.detection.real_models import declare_operators

# Here, because every module of the package comes after it: Lightning imports torchvision where it finds it.
declare_operators()
