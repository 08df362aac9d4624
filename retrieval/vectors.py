"""What vectors are, apart from the ports: who only speaks of hits and kinds needs no numpy."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
