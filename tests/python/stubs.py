"""Makes the Python stubs of Cutover's API from its .proto files, and of the public ones that go with them."""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOTS = (HERE.parent.parent / "proto", HERE / "public")


def make(folder):
    """Makes them in this folder, and lets them be imported from there."""
    files = [str(path) for root in ROOTS for path in sorted(root.rglob("*.proto"))]
    subprocess.run(
        [
            "protoc",
            *(f"--proto_path={root}" for root in ROOTS),
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            f"--plugin=protoc-gen-grpc_python={shutil.which('grpc_python_plugin')}",
            *files,
        ],
        check=True,
    )
    # `google` is a package that is installed already; ours adds to it.
    import google

    google.__path__.append(f"{folder}/google")
    # `grpc` as well, and its stubs are imported by their full names.
    import grpc

    grpc.__path__.append(f"{folder}/grpc")
    sys.path.insert(0, str(folder))
