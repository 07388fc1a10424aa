"""The kinds of remedies, and how to tell the kinds of one by its words and code."""

from __future__ import annotations

import re
from enum import Enum


class Remedy(str, Enum):
    """What the user is told to change. The value is how it is printed."""

    INITIALISE = "initialise"
    LEARNING_RATE = "learning rate"
    SLOWER = "lower learning rate"
    FASTER = "higher learning rate"
    MOMENTUM = "momentum"
    SCHEDULE = "schedule"
    WEIGHT_DECAY = "weight decay"
    EPS = "the optimizer's eps"
    DTYPE = "number format"
    CLIP = "gradient clipping"
    OPTIMIZER = "what the optimizer has, and that it steps"
    ZERO_GRADIENTS = "zero the gradients"
    CONNECT = "connect the loss"
    UNFREEZE = "unfreeze"
    OUTPUT_ACTIVATION = "take the activation away"
    DIMENSION = "dimension or number of outputs"
    NORMALISE = "where or whether to normalise"
    RESIDUAL = "scale the branches"
    ATTENTION = "scale the attention"
    MASK = "mask"
    DROPOUT = "dropout"
    ACTIVATION = "another activation"
    INPUT = "scale the input"
    TARGET = "scale the target"
    LOSS_TERM = "weight of a loss term"
    LOSS_SCALE = "scale or reduction of the loss"
    OUTPUT_SCALE = "scale the output"
    GUARD = "guard a division, logarithm or root"
    DATA = "the data"
    COLLAPSE = "what keeps representations apart"
    UNDONE = "what undoes the steps"
    SIGN = "the sign of the loss"

    def __str__(self) -> str:
        """Return the words."""
        return self.value


_RATE = r"(learning[ -]rate|\blr\b|\brates?\b)"
_ACTIVATION = r"(activation|relu|rectif|sigmoid|tanh|clamp|softmax|bound)"
_TERM = r"(loss|term|\bkl\b|penalt|objective)"
_WEIGHT = r"(coefficient|factor|beta|β|weigh\w* (of|on|for|the|to|less|more)|outweigh|balance|smaller|anneal)"

_WORDS: dict[Remedy, str] = {
    Remedy.LEARNING_RATE: _RATE,
    Remedy.SLOWER: rf"(lower|smaller|reduce|decrease|divide|less|down)\b[^.\n]{{0,60}}{_RATE}|{_RATE}[^.\n]{{0,60}}(too (large|high)|down|lower|smaller)",
    Remedy.FASTER: rf"(raise|rais\w+|higher|increase|larger|greater|multiply)\b[^.\n]{{0,60}}{_RATE}|{_RATE}[^.\n]{{0,60}}(too (small|low)|\bup\b|higher|larger|greater)",
    Remedy.MOMENTUM: r"momentum|\bbetas?\b",
    Remedy.SCHEDULE: r"schedul|warm[- ]?up|\binterval\b|\blr_lambda\b|last_epoch|per epoch|every (epoch|batch|step)",
    Remedy.WEIGHT_DECAY: r"weight[ _-]decay|decay of the weights|regulari[sz]",
    Remedy.EPS: r"\beps\b|epsilon|ε",
    Remedy.DTYPE: r"float ?32|float64|bfloat16|bf16|precision|mixed|\bdtype\b|\.float\(\)|autocast|grad(ient)? ?scal",
    Remedy.CLIP: r"clip",
    Remedy.OPTIMIZER: (
        r"in no optimizer|\b(to|into|give|hand|pass|tell|add|all)\b[^.\n]{0,60}\boptimi[sz]er|optimi[sz]er[^.\n]{0,60}"
        r"\b(gets?|has|given|parameters)\b|add_param_group|ModuleList|register|\.step\("
    ),
    Remedy.ZERO_GRADIENTS: r"zero_grad|zero (the |all )?gradient|gradients? (of earlier|add up|pile up|accumulat)",
    Remedy.CONNECT: (
        r"detach|no_grad|\.item\b|\.data\b|\.numpy\b|argmax|\bround|straight[- ]through|gumbel|\bgraph\b|"
        r"differentia|connect|cut off"
    ),
    Remedy.UNFREEZE: r"unfreez|requires_grad_?\(?( ?= ?)?(requires_grad=)?(True|\))|\bfrozen\b|trainable",
    Remedy.OUTPUT_ACTIVATION: (
        rf"\b(take|leave|drop|remove|without|delete|replace|omit)\b[^.\n]{{0,80}}{_ACTIVATION}|{_ACTIVATION}[^.\n]{{0,80}}"
        r"\b(take|leave|drop|remove|delete|omit)\b|take it away|leave it out|linear output|output linear|nn\.Identity"
    ),
    Remedy.DIMENSION: (
        r"\bdim\b|dimension|\baxis\b|(one|single|1) (element|value|logit|class|output|score)|size (of )?1\b|"
        r"two (outputs|logits|classes)|sigmoid|number of classes|num_classes|more than one"
    ),
    Remedy.NORMALISE: r"normali[sz]|LayerNorm|BatchNorm|GroupNorm|RMSNorm|\bnorm\b|degree|\bmean\b[^.\n]{0,40}instead",
    Remedy.RESIDUAL: (
        r"branch|residual|zero[-_]init|rescale|skip|fixup|1 ?/ ?√|1/sqrt|(number of|2L|\bL\b)[^.\n]{0,20}(blocks|layers)"
    ),
    Remedy.ATTENTION: r"√ ?d|sqrt|d_?k|head_dim|(scale|divide)[^.\n]{0,60}(logit|score|quer|key|attention)|qk[- ]?norm",
    Remedy.MASK: r"\bmask|padding|padded",
    Remedy.DROPOUT: r"dropout|keep[- ]prob",
    Remedy.ACTIVATION: r"leaky|prelu|gelu|silu|\belu\b|another activation|slope",
    Remedy.INPUT: (
        r"standardi[sz]|(scale|divide|normali[sz]|bring|shift|centre|centring)[^.\n]{0,80}(input|feature|column|pixel|data|"
        r"coordinate)|(input|feature|column|pixel|data|coordinate)s?[^.\n]{0,80}(scale|divide|normali[sz]|mean 0|unit var)"
    ),
    Remedy.TARGET: r"\btargets?\b|\blabels?\b|\breturns\b|\brewards?\b|regress",
    Remedy.LOSS_TERM: (
        rf"{_WEIGHT}[^.\n]{{0,80}}{_TERM}|{_TERM}\w*\b[^.\n]{{0,80}}{_WEIGHT}|non[- ]saturating|posterior|outweigh"
    ),
    Remedy.LOSS_SCALE: (
        r"reduction|mean of the loss|mean over|divide[^.\n]{0,40}loss|loss[^.\n]{0,60}(scal|sum|mean|divid|multipl|factor)"
    ),
    Remedy.OUTPUT_SCALE: (
        r"temperature|(scale|divide|smaller|std|small)\b[^.\n]{0,80}(logit|output|last layer|embedding)|"
        r"logit[^.\n]{0,60}(scale|divid|std)"
    ),
    Remedy.GUARD: (
        r"\beps\b|epsilon|clamp|log_?softmax|logsumexp|with_?logits|log1p|logarithm|sqrt|\broot\b|divi(de|sion)\b|"
        r"small constant|\bguard\b|nan_to_num|torch\.where"
    ),
    Remedy.DATA: (
        r"nan_to_num|missing|data ?set|\bthe data\b|loader|imput|(every|each|same|all) samples?|identical|duplicat|"
        r"\bthe batch\b|\blabels?\b"
    ),
    Remedy.COLLAPSE: (
        r"stop[- ]?grad|negative|predictor|temperature|margin|variance|repuls|decorrel|collaps|apart|contrast|mining|distinct"
    ),
    Remedy.UNDONE: r"undo|undid|put\w* back|overwrit|load_state_dict|copie[sd]|\bcopy",
    Remedy.SIGN: r"\bsign\b|\bminus\b|negative loss|minimi[sz]|maximi[sz]",
}  # fmt: skip
"""Words of which at least one is in every sensible remedy of the kind. They are generous on purpose: a remedy that is
about something else altogether must not pass, and no wording is asked for. Written before any new remedy was."""

_INITIALISING_CODE = re.compile(r"\binit\.\w+_\(|\brecipes\.|\brecommend\(|\.apply_\(|reset_parameters|\.data\.chunk")
_INITIALISING_WORDS = re.compile(r"\b(re-?)?initiali[sz](e|es|ing)\b|\bdraw\b.{0,30}\banew\b", re.IGNORECASE)
_DENIED = re.compile(
    r"(\b(not|no|nothing|never|without|rather than|instead of|nor)\b[^.;:]{0,60}\b(re-?)?initiali[sz]\w*)",
    re.IGNORECASE,
)


def kinds_of(sentence: str, code: str = "") -> frozenset[Remedy]:
    """Return all kinds that a remedy may be of.

    Args:
        sentence: its words.
        code: what there is to paste.

    >>> sorted(str(kind) for kind in kinds_of("Set the interval of the schedule to step."))
    ['schedule']
    >>> sorted(str(kind) for kind in kinds_of("Initialise the layer.", "nn.init.xavier_normal_(model.fc.weight)"))
    ['initialise']
    """
    text = f"{sentence}\n{code}"
    found = {kind for kind, words in _WORDS.items() if re.search(words, text, re.IGNORECASE | re.DOTALL)}
    return frozenset(found | ({Remedy.INITIALISE} if initialises(sentence, code) else set()))


def initialises(sentence: str, code: str = "") -> bool:
    """Say whether a remedy advises other initial weights.

    >>> initialises("Initialise with He's recipe."), initialises("Do not initialise anew: lower the weight decay.")
    (True, False)
    """
    return bool(_INITIALISING_CODE.search(code) or _INITIALISING_WORDS.search(_DENIED.sub("", sentence)))
