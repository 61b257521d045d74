"""What flags say of the network; imports no TensorFlow."""

MODEL_TYPES = ("wide", "deep", "wide_deep")


def hidden_units(text: str) -> tuple[int, ...] | None:
    """The widths of `100,75,50,25`; None for other text."""
    try:
        units = tuple(int(part) for part in text.split(","))
    except ValueError:
        return None
    return units if all(width > 0 for width in units) else None
