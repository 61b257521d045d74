"""The embedded set: made-up events in the columns of HIGGS, with a known best model.

An event is a lepton, missing energy and four jets with random momenta; masses are
computed from them as in HIGGS. Its chance of being a signal is a known function of it:
high where the masses are near those of a decay chain, where the last jets are tagged,
and where lepton and missing energy fly apart. The label is drawn by that chance, so no
model can tell signals better than the chance itself does, and `best_auc` is its AUC.

Event number n depends on n alone: any rows can be made without those before them.
"""

import math

import numpy as np

from official.r1.boosted_trees.higgs_columns import COLUMNS, JETS, MASSES, MEASURED

# Uniform numbers an event: for the measured columns, the label, and to spare.
_DRAWS = 64
_SEED = 20_190_601
_BLOCK = 50_000
# Masses of the made-up particles, in the units of the columns, with their widths and
# what the logarithm of the odds gains at the peak.
_PEAKS = {
    "m_jj": (1.2, 0.35, 1.2),
    "m_bb": (1.5, 0.35, 2.6),
    "m_wbb": (2.6, 0.6, 1.6),
    "m_wwbb": (4.2, 1.0, 1.6),
}
_BASE = -2.6


def make(start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes events.

    Args:
        start: number of the first one, from 0.
        count: how many.

    Returns:
        features: float64 [count, 28], column-major.
        labels: float32 [count], 1 for a signal.
        chances: float64 [count], of being a signal.
    """
    features = np.empty([count, len(COLUMNS)], order="F")
    labels = np.empty(count, np.float32)
    chances = np.empty(count)
    for first in range(0, count, _BLOCK):
        block = slice(first, min(first + _BLOCK, count))
        drawn = _uniform(start + first, block.stop - block.start)
        columns = _measured(drawn)
        columns |= _masses(columns)
        for position, name in enumerate(COLUMNS):
            features[block, position] = columns[name]
        chances[block] = _chance(columns)
        labels[block] = drawn[-1] < chances[block]
    return features, labels, chances


def _uniform(start: int, count: int) -> np.ndarray:
    """Numbers between 0 and 1, float64 [_DRAWS, count].

    They come from PCG64's raw output, which NumPy promises never to change.
    """
    generator = np.random.PCG64(_SEED).advance(start * _DRAWS)
    raw = generator.random_raw(count * _DRAWS).reshape(count, _DRAWS)
    return np.ascontiguousarray(((raw >> np.uint64(11)) + 0.5).T * 2.0**-53)


def _measured(drawn: np.ndarray) -> dict[str, np.ndarray]:
    """The 21 measured columns."""
    columns = {}
    pairs = iter(drawn[:-1].reshape(-1, drawn.shape[1]))

    def normal():
        # Box and Muller: two uniform numbers make a normal one.
        radius = np.sqrt(-2 * np.log(next(pairs)))
        return radius * np.cos(2 * math.pi * next(pairs))

    def angle():
        return math.pi * (2 * next(pairs) - 1)

    for name in MEASURED:
        if name.endswith("_pt") or name.endswith("_magnitude"):
            columns[name] = 0.85 * np.exp(0.5 * normal())
        elif name.endswith("_eta"):
            columns[name] = normal()
        elif name.endswith("_phi"):
            columns[name] = angle()
        else:
            number = JETS.index(name.removesuffix("_b_tag"))
            level = np.searchsorted([0.5, 0.8], next(pairs))
            columns[name] = level * (1.0 + 0.15 * number)
    return columns


def _masses(columns) -> dict[str, np.ndarray]:
    """The seven masses: of sums of jets, lepton (l) and missing energy (v)."""
    jets = [
        _momentum(*(columns[f"{jet}_{k}"] for k in ("pt", "eta", "phi")))
        for jet in JETS
    ]
    lepton = _momentum(*(columns[f"lepton_{k}"] for k in ("pt", "eta", "phi")))
    missing = columns["missing_energy_magnitude"]
    # Along the beam nothing is known of it.
    missing = _momentum(missing, 0 * missing, columns["missing_energy_phi"])
    parts = {
        "m_jj": jets[:2],
        "m_jjj": jets[:3],
        "m_lv": [lepton, missing],
        "m_jlv": [jets[3], lepton, missing],
        "m_bb": jets[2:],
        "m_wbb": [jets[0], *jets[2:]],
        "m_wwbb": [*jets, lepton, missing],
    }
    return {name: _mass(sum(parts[name])) for name in MASSES}


def _momentum(pt, eta, phi) -> np.ndarray:
    """Energy and momentum of a particle without mass, [4, N]."""
    return np.stack(
        [pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    )


def _mass(momentum) -> np.ndarray:
    square = momentum[0] ** 2 - (momentum[1:] ** 2).sum(0)
    return np.sqrt(np.maximum(square, 0.0))


def _chance(columns) -> np.ndarray:
    """The chance of each event to be a signal."""
    log_odds = np.full(len(columns["m_bb"]), _BASE)
    for name, (mass, width, gain) in _PEAKS.items():
        log_odds += gain / (1 + ((columns[name] - mass) / width) ** 2)
    for jet in JETS[2:]:
        log_odds += 0.35 * columns[f"{jet}_b_tag"]
    apart = columns["lepton_phi"] - columns["missing_energy_phi"]
    log_odds -= 0.8 * np.cos(apart)
    return 1 / (1 + np.exp(-1.6 * log_odds))
