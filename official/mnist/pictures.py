"""The user's pictures of digits, for prediction."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from official.mnist.dataset import IMAGE_SIZE
from official.utils.data import files
from official.utils.errors import UserError

# ITU-R BT.601, as in TensorFlow's and Pillow's conversion to grey.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def decode_images(paths: Sequence[str], invert: bool = False) -> np.ndarray:
    """Reads pictures of digits for prediction.

    As in MNIST, a digit is expected light on dark, centred, with a margin of about a
    seventh of the picture on each side. Nothing is guessed: for dark ink on white paper
    pass `invert`. Transparent pixels count as background. A picture of another size
    is resized by averaging areas; one that is not square is stretched. Of an animation
    the first frame is taken.

    Args:
      paths: png, jpeg, gif or bmp files.
      invert: exchange light and dark.

    Returns:
      uint8 [N, 28, 28].

    Raises:
      UserError: a file is missing, empty or no picture that can be decoded.
    """
    images = np.empty([len(paths), IMAGE_SIZE, IMAGE_SIZE], np.uint8)
    for index, path in enumerate(paths):
        images[index] = _decode_image(path, invert)
    return images


def _decode_image(path: str, invert: bool) -> np.ndarray:
    content = files.read_bytes(path)
    try:
        picture = tf.io.decode_image(content, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise UserError(
            f"{path} is no picture that can be read, or it is damaged; give a png, "
            "jpeg, gif or bmp file"
        ) from error
    # Grey, grey and alpha, RGB, or RGB and alpha.
    num_channels = picture.shape[-1]
    picture = picture.astype(np.float32)
    grey = picture[..., :3] @ LUMA if num_channels >= 3 else picture[..., 0]
    if invert:
        grey = 255 - grey
    # 32-bit bmp files leave the byte of alpha at 0: that is no transparency.
    if num_channels in (2, 4) and picture[..., -1].any():
        grey *= picture[..., -1] / 255
    if grey.shape != (IMAGE_SIZE, IMAGE_SIZE):
        size = [IMAGE_SIZE, IMAGE_SIZE]
        grey = tf.image.resize(grey[..., None], size, method="area").numpy()[..., 0]
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
