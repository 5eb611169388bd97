"""demo.py with its quickest model, for tests."""

import demo
from tests.commands import call


def run(*options) -> None:
    """demo.py with the quickest model, enlarging by 2 unless another size is given."""
    sized = {"--scale", "--size", "--fit", "--fill", "--long-side", "--megapixels", "--rotate"} & set(map(str, options))
    call(demo, "--model", "nearest", *(() if sized else ("--scale", 2)), *options)
