"""The images on which Brain-Score fits principal components: the first validation image of each of ImageNet's classes.

Its own code fetches one HDF5 file of all validation images from its public storage and writes the chosen ones beside it
as PNG. The file has no published checksum; the hash of the chosen pixels enters the key of every number that rests on
them.
"""

import os
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from blendnet.data.brain import _brainscore_storage as storage
from blendnet.data.brain._checked import pixels_sha256
from blendnet.data.brain.recording import Stimuli
from blendnet.errors import BlendnetError

N = 1000
FILE = "MT_IMAGENET_PATH"  # Brain-Score's own variable
OBJECT = "s3://brain-score-models/imagenet2012-val.hdf5"


def images(root: Path, n: int = N) -> Stimuli:
    """The n images in Brain-Score's order, in the file that $MT_IMAGENET_PATH names, else in imagenet2012.hdf5 where
    Brain-Score's other downloads lie (_brainscore_storage.home); fetched where it is not there.

    root: the data folder of --data. They fill the field of view (degrees None), as in Brain-Score. Raises
    BlendnetError in one line without a network, and for a file that is none.
    """
    where = storage.home(root)
    return _read(Path(os.environ.get(FILE) or where / "imagenet2012.hdf5"), where, n)


@cache
def _read(file: Path, where: Path, n: int) -> Stimuli:
    there = file.is_file()
    before = os.environ.get(FILE)
    with storage.opened(where, "imagenet", OBJECT):
        from brainscore_vision.model_helpers.activations import pca

        os.environ[FILE] = str(file)
        try:
            paths = [Path(path) for path in pca._get_imagenet_val(num_images=n)]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            if there:
                problem = f"{file} is not Brain-Score's file of ImageNet's validation images ({reason}); delete it"
                raise BlendnetError(f"{problem} and run the command again") from error
            raise BlendnetError(
                f"the {n} of ImageNet's validation images on which Brain-Score fits its principal components could not "
                f"be fetched from {OBJECT} ({reason}); connect to a network, or name the file with {FILE}"
            ) from error
        finally:
            if before is None:
                del os.environ[FILE]
            else:
                os.environ[FILE] = before
    read = partial(_pixels, paths)
    ids = tuple(path.stem for path in paths)
    return Stimuli("imagenet-val", ids, read, np.arange(n), None, pixels_sha256(read, n))


def _pixels(paths: list[Path], i: int) -> np.ndarray:
    try:
        with Image.open(paths[i]) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # written by half when Brain-Score's code was ended
        raise BlendnetError(
            f"{paths[i]} is no readable image ({error}); delete it and run the command again"
        ) from error
