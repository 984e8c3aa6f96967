"""Packaging of tfod_csf; tested ranges here, exact versions in requirements.lock."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "tfod_csf" / "__init__.py").read_text(encoding="utf-8")).group(1)

TRAIN = ["tf-models-official==2.20.*", "tf_keras==2.20.*", "pycocotools>=2.0.10,<3"]
DEV = [
    "pytest>=8,<10",
    "ruff==0.17.6",
    "grpcio-tools==1.76.0",
    "nbclient>=0.10,<1",
    "ipykernel>=6,<8",
    "openvino>=2026.0",
]

setup(
    name="tfod_csf",
    version=VERSION,
    description="TFOD's Faster R-CNN on today's TensorFlow, with the CSF cell differential",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["tfod_csf", "tfod_csf.*"]),
    package_data={
        "tfod_csf": [
            "config/protos/*.proto",
            "files/*.proto",
            "files/schemas/*.csv",
            "cytology/counting/*.csv",
            "cytology/report/templates/*",
        ],
    },
    install_requires=[
        "tensorflow==2.20.*",
        "numpy>=2.0,<3",
        "pandas>=2.2,<4",
        "lxml>=5,<7",
        "matplotlib>=3.9,<4",
        "absl-py>=1.4,<3",
        "google-crc32c>=1.7.1,<2",  # checksums of TFRecord files; 1000 times as fast as Python code
        "Pillow>=11,<14",
        "tqdm>=4.66,<5",
        "jinja2>=3.1,<4",
        "markupsafe>=2.1,<4",
        "statsmodels>=0.14.4,<0.16",
        "setuptools<82",  # tensorboard 2.20 imports pkg_resources, which setuptools 82 left out
        "protobuf>=6.31.1,<8",
    ],
    extras_require={
        "train": TRAIN,
        "gpu": ["tensorflow[and-cuda]==2.20.*"],
        "dev": DEV,
    },
    entry_points={"console_scripts": ["tfod_csf=tfod_csf.commands.command_line:main"]},
)
