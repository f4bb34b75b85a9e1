"""Operations that count 0 FLOPs by right: they touch each element a few times, no products.

Torch tags most of them itself (element-wise, views, random numbers, reductions); the rest is
listed here by name. What is neither counted nor here is reported to the user by name, so the list
errs on the short side.

Entry point: `is_elementwise`.
"""

from typing import Any

import torch

_ELEMENTWISE_TAGS = {
    torch.Tag.pointwise,
    torch.Tag.reduction,
    torch.Tag.view_copy,
    torch.Tag.inplace_view,
    torch.Tag.nondeterministic_seeded,
}

_ELEMENTWISE_LIST = """
arange argsort bucketize cat clone constant_pad_nd copy copy_ count_nonzero cummax cummin
cumprod cumsum detach diag diag_embed diagonal_backward diagonal_scatter empty empty_like
empty_permuted empty_strided eye fill fill_ flip full full_like gather im2col col2im index
index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_put index_put_
index_select isin kthvalue lift lift_fresh lift_fresh_copy linspace logcumsumexp masked_fill
masked_fill_ masked_scatter masked_scatter_ masked_scatter_backward max median meshgrid min mode
new_empty new_empty_strided new_full new_ones new_zeros numel ones ones_like one_hot
pixel_shuffle pixel_unshuffle repeat repeat_interleave roll rot90 scalar_tensor scatter scatter_
scatter_add scatter_add_ scatter_reduce scatter_reduce_ searchsorted select_backward
select_scatter set_ slice_backward slice_scatter sort stack take topk trace tril tril_ triu
triu_ tril_indices triu_indices unfold_backward unsafe_chunk unsafe_split
unsafe_split_with_sizes zero zero_ zeros zeros_like resize_ copy_to channel_shuffle item
avg_pool2d avg_pool2d_backward avg_pool3d avg_pool3d_backward adaptive_max_pool2d
adaptive_max_pool2d_backward adaptive_max_pool3d adaptive_max_pool3d_backward
max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices
max_pool3d_with_indices_backward max_unpool2d max_unpool3d fractional_max_pool2d grid_sampler_2d
grid_sampler_2d_backward grid_sampler_3d grid_sampler_3d_backward affine_grid_generator
native_batch_norm native_batch_norm_backward native_layer_norm native_layer_norm_backward
native_group_norm native_group_norm_backward batch_norm_backward renorm renorm_ dist embedding
embedding_dense_backward bincount histc nonzero masked_select binary_cross_entropy
binary_cross_entropy_backward binary_cross_entropy_with_logits huber_loss huber_loss_backward
mse_loss mse_loss_backward multi_margin_loss nll_loss nll_loss_forward nll_loss_backward
nll_loss2d_forward nll_loss2d_backward smooth_l1_loss smooth_l1_loss_backward soft_margin_loss
soft_margin_loss_backward multilabel_margin_loss_forward elu_backward glu glu_backward gelu_
hardsigmoid_backward hardswish hardswish_ hardswish_backward hardtanh_backward
leaky_relu_backward log_sigmoid_backward log_sigmoid_forward mish_ mish_backward prelu
rrelu_with_noise_backward softplus_backward threshold_ threshold_backward
"""

_ELEMENTWISE_NAMES = frozenset(_ELEMENTWISE_LIST.split())

_ELEMENTWISE_PREFIXES = (
    "_adaptive_avg_pool",
    "_batch_norm",
    "_embedding_bag",
    "_foreach_",
    "_fused_adagrad",
    "_fused_adam",
    "_fused_dropout",
    "_fused_sgd",
    "_local_scalar",
    "_log_softmax",
    "_native_batch_norm",
    "_pack_padded",
    "_pad_packed",
    "_prelu",
    "_reshape",
    "_safe_softmax",
    "_softmax",
    "_thnn_fused",
    "_to_copy",
    "_unsafe_index",
    "_unsafe_masked",
    "_unsafe_view",
    "_upsample",
    "_weight_norm",
    "is_",
    "reflection_pad",
    "replication_pad",
    "sym_",
    "upsample",
)


def is_elementwise(operation: Any) -> bool:
    """Return whether an operator overload costs at most a few FLOPs an element."""
    namespace, name = operation.name().split("::")
    name = name.split(".")[0]
    if namespace in ("prim", "profiler"):
        return True
    if operation.is_view or _ELEMENTWISE_TAGS.intersection(operation.tags):
        return True
    if namespace != "aten":
        return False
    out_of_place = name.removesuffix("_")
    return (
        name in _ELEMENTWISE_NAMES
        or name.startswith(_ELEMENTWISE_PREFIXES)
        or _has_elementwise_overload(out_of_place)
    )


def _has_elementwise_overload(name: str) -> bool:
    """Return whether the out-of-place form is tagged element-wise (`abs_` and `abs`)."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return False
    return any(
        _ELEMENTWISE_TAGS.intersection(getattr(packet, overload).tags)
        for overload in packet.overloads()
    )
