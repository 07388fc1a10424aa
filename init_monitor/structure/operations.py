"""What each torch function does to a value's identity: does it carry it, scale it, cut it, mix it, compute with it.

The table is about provenance only. A function that is not listed counts as :attr:`Family.COMPUTES`: it makes a new
value, and it is taken for nonlinear. Names are those of torch functions and of the tensor methods of the same name,
without the trailing underscore of the in-place form and without the double underscores of the operator form.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Family(Enum):
    """What a function does to the identity of its tensor inputs."""

    # Each member is one object: Enum's own hash is computed in Python, and sets of families are searched all the time.
    __hash__ = object.__hash__

    IGNORED = "tells something about a tensor and makes none"
    MAKES = "makes a tensor that does not depend on the elements of any input"
    CUTS = "ends provenance: no gradient flows through it"
    CARRIES = "moves, casts, copies or drops elements"
    JOINS = "puts several tensors side by side, or chooses between them"
    MULTIPLIES = "element-wise product or quotient"
    ADDS = "element-wise sum"
    SUBTRACTS = "element-wise difference"
    ADDS_PRODUCT = "x + value * a * b, or x + value * a / b"
    ADDS_MATRIX_PRODUCT = "beta * x + alpha * (a @ b)"
    INTERPOLATES = "x + weight * (y - x)"
    POOLS = "averages, maxima or interpolation over positions"
    NORMALISES = "centres and rescales"
    ACTIVATES = "a nonlinear function of each element for itself"
    COMBINES = "a function of several tensors, element by element"
    CONTRACTS = "linear in each input: linear, convolution, matrix product"
    COMPUTES = "anything else"


_NAMES: dict[Family, str] = {
    Family.IGNORED: """
        size dim ndim ndimension numel nelement shape dtype device layout is_cuda is_cpu is_leaf requires_grad grad_fn
        is_floating_point is_complex is_contiguous stride storage_offset data_ptr element_size nbytes itemsize names
        get_device is_sparse is_quantized is_meta is_nested is_mkldnn is_xpu is_mps is_mtia is_vulkan is_ipu is_xla
        is_maia is_pinned is_shared is_signed is_same_size is_inference is_conj is_neg is_set_to _version _base output_nr
        retain_grad register_hook register_post_accumulate_grad_hook untyped_storage storage storage_type _typed_storage
        tolist item bool int float_value len hash repr str format iter contains backward grad retains_grad _backward_hooks
        __len__ __hash__ __repr__ __str__ __format__ __iter__ __contains__ __bool__ __int__ __index__ __float__
        __complex__ __reduce_ex__ __deepcopy__ __dlpack__ __array__ numpy is_tensor allclose equal result_type
        can_cast broadcast_shapes promote_types is_nonzero has_names _is_view is_coalesced _nnz volatile
    """,
    Family.MAKES: """
        zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty new_full
        new_tensor new_empty_strided bernoulli normal uniform exponential geometric cauchy log_normal random zero fill
        trunc_normal kaiming_uniform kaiming_normal xavier_uniform xavier_normal constant orthogonal arange linspace
    """,
    Family.CUTS: "detach data",
    Family.CARRIES: """
        view reshape permute transpose t swapaxes swapdims movedim moveaxis flatten unflatten squeeze unsqueeze ravel
        contiguous clone expand expand_as repeat tile view_as reshape_as broadcast_to alias as_strided narrow narrow_copy
        select getitem chunk split split_with_sizes unsafe_chunk unsafe_split tensor_split hsplit vsplit dsplit unbind
        index_select roll flip fliplr flipud rot90 pad pixel_shuffle pixel_unshuffle channel_shuffle unfold diagonal
        T mT H mH real adjoint take_along_dim gather repeat_interleave masked_fill conj resolve_conj resolve_neg
        to float half bfloat16 double type type_as cuda cpu requires_grad_ pin_memory chalf
        dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout native_dropout
        as_subclass atleast_1d atleast_2d atleast_3d broadcast_tensors meshgrid align_tensors positive
    """,
    Family.JOINS: """
        cat concat concatenate stack hstack vstack dstack column_stack row_stack setitem where copy index_put index_copy
        index_add index_fill scatter scatter_add slice_scatter select_scatter index_select masked_scatter
        pad_sequence block_diag
    """,
    Family.MULTIPLIES: "mul multiply div divide true_divide rmul truediv imul itruediv rtruediv neg negative",
    Family.ADDS: "add radd iadd",
    Family.SUBTRACTS: "sub subtract rsub isub",
    Family.ADDS_PRODUCT: "addcmul addcdiv",
    Family.ADDS_MATRIX_PRODUCT: "addmm baddbmm addbmm addmv addr",
    Family.INTERPOLATES: "lerp",
    Family.POOLS: """
        avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
        adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d lp_pool3d
        mean sum amax amin interpolate upsample upsample_nearest upsample_bilinear
    """,
    Family.NORMALISES: "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize",
    Family.ACTIVATES: """
        relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish tanh sigmoid softplus softsign logsigmoid
        log_sigmoid hardtanh hardswish hardsigmoid hardshrink softshrink tanhshrink threshold clamp clamp_min clip expit
    """,
    Family.COMBINES: """
        maximum minimum fmax fmin max min pow float_power rpow ipow remainder fmod atan2 hypot logaddexp logaddexp2 copysign
        polar complex view_as_complex view_as_real
    """,
    Family.CONTRACTS: """
        linear bilinear matmul rmatmul mm bmm mv dot inner outer einsum tensordot chain_matmul _grouped_mm
        conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc fft rfft irfft ifft fft2 rfft2
        irfft2 ifft2 fftn rfftn irfftn ifftn
    """,
}

_FAMILIES: dict[str, Family] = {name: family for family, names in _NAMES.items() for name in names.split()}

NOISE = frozenset({"randn_like", "randn", "normal", "log_normal", "cauchy", "exponential"})
"""What draws from a distribution without bounds. A mask (dropout, a dropped path) is drawn from two or few values."""
DRAWS = NOISE | {
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "uniform",
    "bernoulli",
    "geometric",
    "random",
    "poisson",
}
"""What draws at random."""

EACH = frozenset({"broadcast_tensors", "meshgrid", "atleast_1d", "atleast_2d", "atleast_3d", "align_tensors"})
"""What gives a tensor back for each that it is given, made from that one alone."""

_MIXING = frozenset({Family.CONTRACTS, Family.ADDS_MATRIX_PRODUCT})
_TABLES = frozenset({"embedding", "embedding_bag"})
_ATTENTION = frozenset({
    "scaled_dot_product_attention", "multi_head_attention_forward", "softmax", "matmul", "rmatmul", "bmm", "mm", "baddbmm",
    "einsum",
})  # fmt: skip
"""What computes an attention, or a part of it where it is written out."""
_ENDS = _TABLES | {"cross_entropy", "log_softmax"}
REGRESSING = frozenset({"sub", "subtract", "rsub", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
"""What takes the difference of two values."""
COMPARING = REGRESSING | {
    "mul", "multiply", "matmul", "rmatmul", "mm", "bmm", "einsum", "cosine_similarity", "cosine_embedding_loss", "pairwise_distance",
    "cdist", "triplet_margin_loss", "triplet_margin_with_distance_loss",
}  # fmt: skip
"""What tells how alike two representations are, or is a part of that."""
_NO_LAYER = frozenset({
    "outer", "dot", "fft", "rfft", "irfft", "ifft", "fft2", "rfft2", "irfft2", "ifft2", "fftn", "rfftn", "irfftn", "ifftn",
})  # fmt: skip
"""Linear in their input, but no mixing with a weight."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One torch function as the probe sees it.

    Attributes:
        name: bare name, for instance ``"add"`` for ``Tensor.__iadd__``.
        family: what it does to identity.
        mutates: True if it may write into its first argument by its name alone.
        reflected: True if its operands are swapped (``__rsub__``, ``torch.rsub``).
        mixes: True if it is a layer where one of its operands is a weight.
        attends: True if it may be a part of an attention.
        ends: True if it looks rows of a table up, or gets the logits of a cross entropy.
        compares: True if it may tell how alike two representations are, or how far a value is from what it should be.
    """

    name: str
    family: Family
    mutates: bool
    reflected: bool
    mixes: bool = False
    attends: bool = False
    ends: bool = False
    compares: bool = False


def describe(function: Callable[..., object]) -> Operation:
    """Return what a function handed to ``__torch_function__`` does; attribute reads go by the attribute's name."""
    raw = getattr(function, "__name__", "") or type(function).__name__
    if raw in {"__get__", "__set__", "__delete__"}:
        attribute = getattr(getattr(function, "__self__", None), "__name__", "")
        if raw != "__get__":
            return Operation(
                attribute, Family.IGNORED, mutates=raw == "__set__" and attribute == "data", reflected=False
            )
        return Operation(attribute, _FAMILIES.get(attribute, Family.IGNORED), mutates=False, reflected=False)
    dunder = raw.startswith("__") and raw.endswith("__")
    name = raw.strip("_") if dunder else raw.rstrip("_")
    family = _FAMILIES.get(raw, _FAMILIES.get(name, Family.COMPUTES))
    in_place_operator = dunder and (name == "setitem" or (name[:1] == "i" and name not in {"invert", "index", "int"}))
    return Operation(
        name,
        family,
        mutates=(raw.endswith("_") and not dunder) or in_place_operator,
        reflected=name in {"rsub", "rtruediv"},
        mixes=name in _TABLES or (family in _MIXING and name not in _NO_LAYER),
        attends=name in _ATTENTION,
        ends=name in _ENDS,
        compares=name in COMPARING or name in REGRESSING,
    )
