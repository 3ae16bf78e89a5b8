"""What an image source is: a list of photographs, read one at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Photo:
    """One photograph. image_id: stable, unique name such as 'caltech101/ketch/image_0007'; class_name: one of the
    source's classes; collection: where it comes from (for the control of the source confound); read(): uint8 array
    of shape (height, width, 3), raises BlendnetError that names the file where it is broken."""

    image_id: str
    class_name: str
    collection: str
    read: Callable[[], np.ndarray]
