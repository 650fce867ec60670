"""The published files: where they lie, and how to tell that they arrived whole."""

from maml.data.fetch import Remote

HOMES = {
    "omniglot": "https://github.com/brendenlake/omniglot",
    "miniimagenet": "https://zenodo.org/records/7978538",
}
_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
_MINIIMAGENET = f"{HOMES['miniimagenet']}/files"

FILES: dict[str, list[Remote]] = {
    "omniglot": [
        Remote(
            f"{_OMNIGLOT}/images_background.zip",
            9_464_212,
            "sha256:ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        ),
        Remote(
            f"{_OMNIGLOT}/images_evaluation.zip",
            6_462_886,
            "sha256:1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        ),
    ],
    "miniimagenet": [
        Remote(
            f"{_MINIIMAGENET}/mini-imagenet-cache-train.pkl",
            1_145_461_190,
            "md5:ee4e80dc7b716f3ceec891d199b5277a",
        ),
        Remote(
            f"{_MINIIMAGENET}/mini-imagenet-cache-validation.pkl",
            292_661_258,
            "md5:c1145a80890b88d54a67d6e0022d53a5",
        ),
        Remote(
            f"{_MINIIMAGENET}/mini-imagenet-cache-test.pkl",
            353_647_539,
            "md5:389b6c59d348b2e1ae9610f00a5e6724",
        ),
    ],
}
"""Format of the data set → its files."""
