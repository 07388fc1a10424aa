"""Initialisations, each in place and with its source: from one weight to a whole network.

For a tensor, a layer or all layers of a model::

    he_normal_  he_uniform_  xavier_normal_  xavier_uniform_  lecun_normal_  orthogonal_  small_output_
    lstm_  gru_  rnn_  embedding_  normalisation_defaults_  siren_  mirrored_

For a whole network, which is run once on a batch to see where its residual additions are::

    zero_init_residual_  rescale_residual_  gpt_  fixup_  lsuv_  weight_norm_

For your own forward: ``halved_sum``, ``rescaled_sum``, ``fixed_weight_sum``.

All of them write outside autograd; keep shape, dtype and device; draw from ``generator=`` if one is given; initialise
a tied weight once; and leave frozen parameters (``requires_grad=False``) alone unless ``frozen=True``.
"""

from __future__ import annotations

from init_monitor.recipes.embedding import embedding_ as embedding_
from init_monitor.recipes.fixup import fixup_ as fixup_, fixup_scale as fixup_scale
from init_monitor.recipes.gpt import gpt_ as gpt_, gpt_std as gpt_std, width_std as width_std
from init_monitor.recipes.lsuv import lsuv_ as lsuv_
from init_monitor.recipes.mirrored import mirrored_ as mirrored_
from init_monitor.recipes.normalisation import normalisation_defaults_ as normalisation_defaults_
from init_monitor.recipes.orthogonal import orthogonal_ as orthogonal_
from init_monitor.recipes.output import small_output_ as small_output_
from init_monitor.recipes.recurrent import gru_ as gru_, lstm_ as lstm_, rnn_ as rnn_
from init_monitor.recipes.rescale import BranchScale as BranchScale, rescale_residual_ as rescale_residual_
from init_monitor.recipes.residual_sums import (
    fixed_weight_sum as fixed_weight_sum,
    halved_sum as halved_sum,
    rescale_factors as rescale_factors,
    rescaled_sum as rescaled_sum,
)
from init_monitor.recipes.siren import siren_ as siren_
from init_monitor.recipes.variance_scaling import (
    he_normal_ as he_normal_,
    he_uniform_ as he_uniform_,
    he_variance as he_variance,
    lecun_normal_ as lecun_normal_,
    xavier_normal_ as xavier_normal_,
    xavier_uniform_ as xavier_uniform_,
    xavier_variance as xavier_variance,
)
from init_monitor.recipes.weight_norm import weight_norm_ as weight_norm_
from init_monitor.recipes.zero_ends import zero_init_residual_ as zero_init_residual_
