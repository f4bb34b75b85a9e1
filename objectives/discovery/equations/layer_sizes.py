"""What torch's own layers carry beside their weights: whole numbers that repeat the weights' sizes.

`nn.Linear` has `in_features` that its forward pass never reads. They follow the weights all the
same, for who resizes a model, and for who prints it.

Entry point: `layer_equations`.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from .polynomial import Polynomial
from .symbolic_forward import Symbols


def layer_equations(model: nn.Module, symbols: Symbols) -> list[Polynomial]:
    """Return polynomials that equal 0, for every layer of torch's that carries its sizes."""
    equations = []
    for path, layer in model.named_modules():
        for attribute, size in _sizes(layer, path, symbols):
            number = symbols.attributes.get((path, attribute))
            if isinstance(number, int) and size is not None:
                equations.append(Polynomial.symbol(number) - size)
        if isinstance(layer, nn.MultiheadAttention):
            rows = _dimension(symbols, path, "out_proj.weight", 0)
            columns = _dimension(symbols, path, "out_proj.weight", 1)
            if rows is not None and columns is not None:
                equations.append(rows - columns)
    return [equation for equation in equations if equation.symbols]


def _sizes(
    layer: nn.Module, path: str, symbols: Symbols
) -> Iterator[tuple[str, Polynomial | None]]:
    """Yield the attributes of a layer with the sizes that they repeat; None where unknown."""

    def weight(dim: int, name: str = "weight") -> Polynomial | None:
        names = [name, f"{name}_v", f"parametrizations.{name}.original1"]
        found = (_dimension(symbols, path, each, dim) for each in names)
        return next((size for size in found if size is not None), None)

    if isinstance(layer, nn.Linear):
        yield "in_features", weight(1)
        yield "out_features", weight(0)
    elif isinstance(layer, nn.Bilinear):
        yield "out_features", weight(0)
        yield "in1_features", weight(1)
        yield "in2_features", weight(2)
    elif isinstance(layer, nn.modules.conv._ConvNd):
        per_group = weight(1)
        groups = symbols.attributes.get((path, "groups"))
        if per_group is not None and isinstance(groups, int):
            per_group *= Polynomial.symbol(groups)
        transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
        yield ("out_channels" if transposed else "in_channels"), per_group
        yield ("in_channels" if transposed else "out_channels"), weight(0)
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        own = weight(0)
        yield "num_features", own if own is not None else weight(0, "running_mean")
    elif isinstance(layer, nn.GroupNorm):
        yield "num_channels", weight(0)
    elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        yield "num_embeddings", weight(0)
        yield "embedding_dim", weight(1)
    elif isinstance(layer, nn.PReLU):
        yield "num_parameters", weight(0)
    elif isinstance(layer, nn.RNNBase):
        yield "input_size", weight(1, "weight_ih_l0")
        yield "proj_size", weight(0, "weight_hr_l0")
    elif isinstance(layer, nn.RNNCellBase):
        yield "input_size", weight(1, "weight_ih")
        yield "hidden_size", weight(1, "weight_hh")
    elif isinstance(layer, nn.MultiheadAttention):
        embedded = weight(1, "in_proj_weight")
        own = embedded if embedded is not None else weight(1, "q_proj_weight")
        yield "embed_dim", own
        yield "kdim", embedded if embedded is not None else weight(1, "k_proj_weight")
        yield "vdim", embedded if embedded is not None else weight(1, "v_proj_weight")
        heads = symbols.attributes.get((path, "num_heads"))
        one = Polynomial.symbol(heads) if isinstance(heads, int) else Polynomial.constant(1)
        yield "head_dim", None if own is None else own.divided_by(one)


def _dimension(symbols: Symbols, path: str, name: str, dim: int) -> Polynomial | None:
    """Return a dimension of a layer's parameter or buffer; None where there is no such one."""
    full = f"{path}.{name}" if path else name
    dims = symbols.parameters.get(full) or symbols.buffers.get(full)
    if dims is None or dim >= len(dims):
        return None
    number = dims[dim]
    return Polynomial.constant(1) if number is None else Polynomial.symbol(number)
