from pathlib import Path

from setuptools import find_namespace_packages, setup

VERSION = next(
    line.split('"')[1]
    for line in Path(__file__).parent.joinpath("scepd/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

setup(
    name="scepd",
    version=VERSION,
    description="An event-driven SCEP (RFC 8894) appliance whose private keys stay in a PKCS#11 token",
    long_description=Path(__file__).parent.joinpath("README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["scepd", "scepd.*", "twisted.plugins"]),
    package_data={"scepd.store": ["migrations/*.py", "migrations/versions/*.py"]},
    include_package_data=False,
    zip_safe=False,
    install_requires=[
        "twisted[tls]>=24.7",
        "pyopenssl>=26.1",
        "cryptography>=45",
        "asn1crypto>=1.5.1",
        "python-pkcs11>=0.10.1",
        "service-identity>=24.1",
        "attrs>=24.2",
        "sqlalchemy>=2.0.30",
        "alembic>=1.13",
        "click>=8.1",
        "pyjwt>=2.13",  # 2.12 and older: crit ignored, allow list passed by
    ],
    extras_require={
        "test": [
            "pytest>=9",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "coverage>=7.6",
            "trustme>=1.2",
            "mypy~=2.4.1",
            "ruff~=0.17.6",
            "import-linter~=2.16",
            "wheel",
            "build",
        ],
    },
    entry_points={"console_scripts": ["scepd = scepd.cli.main:main"]},
)
