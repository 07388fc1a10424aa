"""What is known of the quantities of residual additions; they are listed in :mod:`init_monitor.records.quantities`."""

from __future__ import annotations

from init_monitor.records.facts import Facts, Form, Group, Heading, Of, Page, Stream

# Three or four lines per entry, so that the table can be read at a glance.
# fmt: off

VARIANCE_RATIO = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="variance_ratio",
    title="Branch over skip", short="Var(F)/Var(x)", means="Var(F) / Var(x); 0 where a branch is silent",
    explains="Variance of the residual branch over the variance of the skip. Near 0 the block is silent.",
    centre=1.0, guides=((1.0, "branch as strong as skip"),), summary=("log10_min", "log10_median"),
    pages=(Page.RESIDUALS, Page.RESIDUAL_MAPS),
    picture="Residuals: branch over skip",
    chart=("Residual blocks", "Branch over skip (log10)"), heading=Heading("Var(F)\n/Var(x)", gives_way=0),
    in_events=True,
)
GROWTH = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="growth", title="Growth", short="growth",
    means="Var(sum) / Var(x); 2 for an unscaled branch of the skip's variance",
    explains="Variance of the sum over the variance of the skip. 2 means that each block doubles the variance.",
    centre=1.0, guides=((1.0, ""), (2.0, "doubles")), summary=("median", "max"),
    pages=(Page.RESIDUALS, Page.RESIDUAL_MAPS), chart=("Residual blocks", "Growth per block"),
    heading=Heading("growth", gives_way=0), in_events=True, compared="residual growth",
)
COVARIANCE = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="covariance", title="Covariance",
    unit="the activation's, squared", form=Form.SIGNED,
    means="Cov(x, F) as they enter the sum: Var(sum) = Var(skip) + Var(branch) + 2 Cov",
)
CORRELATION = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="correlation", title="Correlation",
    short="correlation", form=Form.SIGNED, means="correlation of the two terms of the sum",
    explains="Correlation of skip and branch, from −1 to 1. Near 0 at initialisation.", centre=0.0,
    bounds=(-1.0, 1.0), guides=((0.0, ""),), summary=("abs_median",), pages=(Page.RESIDUALS,),
    chart=("Residual blocks", "Correlation of skip and branch"), heading=Heading("correlation", gives_way=4),
    in_events=True,
)
BACKWARD_GROWTH = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="backward_growth",
    title="Backward growth", short="backward growth", means="variance of ∂loss/∂x over that of ∂loss/∂sum",
    centre=1.0, summary=("median",), heading=Heading("backward\ngrowth", gives_way=2),
)
SKIP_VAR = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="skip_var", title="Variance of the skip",
    unit="the activation's, squared", means="Var(x)",
)
BRANCH_VAR = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="branch_var",
    title="Variance of the branch", unit="the activation's, squared", means="Var(F)",
)
SUM_VAR = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="sum_var", title="Variance of the sum",
    short="Var(sum)", unit="the activation's, squared", means="variance of the block's output",
    explains="Variance of each block's output.", heading=Heading("Var(sum)", gives_way=3), in_events=True,
)
SKIP_GRADIENT_VAR = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="skip_gradient_var",
    title="Gradient at the skip", unit="the gradient's, squared",
    means="variance of ∂loss/∂x, the whole gradient at the block's input",
)
BRANCH_GRADIENT_VAR = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="branch_gradient_var",
    title="Gradient at the branch", unit="the gradient's, squared", means="variance of ∂loss/∂F",
)
SUM_GRADIENT_VAR = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="sum_gradient_var",
    title="Gradient at the sum", short="gradient at the sum", unit="the gradient's, squared",
    means="variance of ∂loss/∂sum", explains="Variance of ∂loss/∂sum.", in_events=True,
)
LOSS_DECREASE = Facts(
    of=Of.RESIDUAL, group=Group.RESIDUAL, stream=Stream.ADDITION, moment="loss_decrease", title="Loss decrease",
    short="loss decrease", unit="of the loss",
    means="η‖g‖² over the block's parameters: what one SGD step takes off the loss, to first order (Shao et al. 2020, Eq. 15)",
    explains="η‖g‖² over the block's parameters: what one step of SGD takes off the loss, to first order.",
    pages=(Page.RESIDUALS,), heading=Heading("loss\ndecrease", gives_way=1), in_events=True,
)

# fmt: on
