"""Asks SavedModels, as a client with TensorFlow alone does; no module of the project.

    python -I saved_model_client.py MODEL OUTPUT [MODEL OUTPUT ...]

For each SavedModel it writes the outputs of `serving_default` on made-up inputs to the
file OUTPUT (.npz). The inputs follow from the signature by whole-number arithmetic, so
that every interpreter and NumPy makes the same; `image_bytes` gets PNG files. Another
signature that takes text has no made-up inputs; then the file holds nothing but
`takes_text`.
"""

import sys
import zlib

import numpy as np
import tensorflow as tf

_ROWS = 8


def main(pairs):
    """Asks each model and writes its answers; `pairs` are (model, output) paths."""
    for path, output in pairs:
        serve = load(path).signatures["serving_default"]
        specs = serve.structured_input_signature[1]
        if any(_takes_text(name, spec) for name, spec in specs.items()):
            np.savez(output, takes_text=True)
            continue
        inputs = {
            name: tf.constant(_made_up(name, spec)) for name, spec in specs.items()
        }
        outputs = {name: value.numpy() for name, value in serve(**inputs).items()}
        # Strings come as objects, which could be read by unpickling only.
        np.savez(
            output,
            **{
                name: value.astype(bytes) if value.dtype == object else value
                for name, value in outputs.items()
            },
        )


def load(path):
    """Loads a SavedModel, with the operations of tensorflow-text if it has some."""
    try:
        return tf.saved_model.load(path)
    except (tf.errors.NotFoundError, FileNotFoundError, RuntimeError) as error:
        if "Op type not registered" not in str(error):
            raise
        import tensorflow_text  # noqa: F401 It registers the operations.

        return tf.saved_model.load(path)


def _takes_text(name, spec):
    return spec.dtype == tf.string and name != "image_bytes"


def _made_up(name, spec):
    if spec.dtype == tf.string:
        pixels = _made_up(name, tf.TensorSpec([_ROWS, 40, 48, 3], tf.uint8))
        return [tf.io.encode_png(image).numpy() for image in pixels]
    shape = [_ROWS if size is None else size for size in spec.shape]
    count = int(np.prod(shape, dtype=np.int64))
    # A multiplicative hash of the position (Knuth, TAOCP 3, 6.4).
    start = np.uint64(zlib.crc32(name.encode()))
    hashed = (np.arange(count, dtype=np.uint64) + start) * np.uint64(2654435761)
    hashed = (hashed % np.uint64(2**32)).reshape(shape)
    dtype = spec.dtype.as_numpy_dtype
    if spec.dtype.is_floating:
        return (hashed / 2.0**31 - 1).astype(dtype)  # From -1 to 1.
    if spec.dtype.is_bool:
        return hashed % np.uint64(2) == 1
    # Bytes are pixels; other whole numbers are ids, of which small ones exist.
    return (hashed % np.uint64(256 if spec.dtype == tf.uint8 else 10)).astype(dtype)


if __name__ == "__main__":
    main(list(zip(sys.argv[1::2], sys.argv[2::2], strict=True)))
