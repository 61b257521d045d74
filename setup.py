"""Installs the package `official` under the distribution name `official-models`."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
# Read, not imported: what the package needs is not installed yet.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "official/__init__.py").read_text(), re.M
)[1]

CORE = [
    "tensorflow>=2.20",
    "absl-py",
    "numpy",
    "pandas",
    "pyarrow",
    "psutil",
    "py-cpuinfo",
    "tensorflow-datasets",
    # tensorflow-datasets imports it and does not ask for it.
    "importlib_resources",
    "scikit-learn",
    "tensorboard",
    "matplotlib",
    "tqdm",
]
TEXT = [
    "tensorflow-text>=2.20",
    "sentencepiece",
    "sacrebleu",
    "num2words",
    "safetensors",
]
TREES = ["lightgbm"]
# Weights of PyTorch; those of Keras need nothing more.
VISION = ["safetensors"]
ALL = TEXT + TREES + VISION
TEST_TOOLS = [
    "pytest",
    "pytest-xdist",
    "ruff",
    "nbclient",
    "nbformat",
    "ipykernel",
    "pillow",
    "selenium",
    # Its models are read, not trained; this build has no GPU code (6 MB).
    "xgboost-cpu",
]

setup(
    name="official-models",
    version=VERSION,
    description="Reference models on TensorFlow and Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["official", "official.*"]),
    package_data={"": ["*.md", "*.ipynb"]},
    install_requires=CORE,
    extras_require={
        "text": TEXT,
        "trees": TREES,
        "vision": VISION,
        "all": ALL,
        "test": ALL + TEST_TOOLS,
        "parity": ["torch", "transformers", "tokenizers"],
        "and-cuda": ["tensorflow[and-cuda]>=2.20"],
    },
    entry_points={"console_scripts": ["official = official.cli:main"]},
)
