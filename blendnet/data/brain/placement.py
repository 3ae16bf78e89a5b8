"""Stimuli at the size at which they were seen.

A network has no degrees of visual angle; it is given some (8 by convention here), and an image that the
animal saw at 4 degrees is drawn half as wide as the network's input. The idea is that of Brain-Score
(Schrimpf et al. 2020, doi 10.1016/j.neuron.2020.07.040).
"""

import numpy as np
from PIL import Image

from blendnet.errors import BlendnetError

MODEL_DEGREES = 8.0
GREY = 127.5


def place(
    image: np.ndarray,
    *,
    image_size: int,
    degrees: float | None,
    model_degrees: float = MODEL_DEGREES,
    background: float = GREY,
) -> np.ndarray:
    """Draw a stimulus into a network's field of view: (h, w, 3) uint8 -> (image_size, image_size, 3)
    float32, 0 to 255.

    image_size: px of the input; degrees: width of the stimulus, in degrees of visual angle; model_degrees:
    width of the network's field of view. A smaller stimulus is centred on `background`, of a larger one the
    centre is seen, in both cases exactly to fractions of a pixel, antialiased, with the aspect ratio kept.
    With degrees None (the source does not say) the longer side fills the field of view. Raises
    BlendnetError for other shapes and sizes that are not positive.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise BlendnetError(f"a stimulus is a uint8 image (h, w, 3), not {image.dtype} {image.shape}")
    if image_size < 1 or not model_degrees > 0 or (degrees is not None and not degrees > 0):
        raise BlendnetError(
            f"image size {image_size} px, stimulus {degrees} and field of view {model_degrees} degrees: "
            "all must be positive"
        )
    height, width = image.shape[:2]
    # The side of the field of view in pixels of the stimulus, and its corner from the stimulus's centre.
    field = max(height, width) if degrees is None else width * model_degrees / degrees
    left, top = (width - field) / 2, (height - field) / 2
    # Background only where the field of view goes beyond the stimulus, and one output pixel further, as far as the
    # filter reaches: a stimulus that fills the field has no grey rim.
    reach = field / image_size
    pad = [int(np.ceil(reach - corner)) if corner < 0 else 0 for corner in (top, left)]
    placed = np.empty((image_size, image_size, 3), dtype=np.float32)
    for channel in range(3):
        padded = np.pad(
            image[:, :, channel].astype(np.float32), [(pad[0],) * 2, (pad[1],) * 2], constant_values=background
        )
        box = (left + pad[1], top + pad[0], left + pad[1] + field, top + pad[0] + field)
        resized = Image.fromarray(padded).resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
        placed[:, :, channel] = np.asarray(resized)
    return placed
