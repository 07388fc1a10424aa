"""What the functions of one forward made from what, call by call: the graph grows, and what is found in it is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from init_monitor.structure.additions import Addition, addition_in
from init_monitor.structure.aftermath import Aftermath, Arithmetic
from init_monitor.structure.attention import Attentions
from init_monitor.structure.comparisons import Comparisons
from init_monitor.structure.derivation import Derivation, carries_values, is_among, tensors_given, tensors_in
from init_monitor.structure.ends import Ends
from init_monitor.structure.functional import activation_of, sine_behind
from init_monitor.structure.loss_calls import is_loss
from init_monitor.structure.mixing import mixing_of, weight_in
from init_monitor.structure.nodes import Frame, Kind, Node
from init_monitor.structure.operations import EACH, Family
from init_monitor.structure.origins import ends_of, maker_before_factors
from init_monitor.structure.products import count_product
from init_monitor.structure.provenance import Provenance, version_of
from init_monitor.structure.sites import ActivationSite, ResidualSite
from init_monitor.structure.streams import Streams
from init_monitor.structure.sums import SUMMING

if TYPE_CHECKING:
    from collections.abc import Mapping, Set as AbstractSet

    from init_monitor.structure.listeners import Listeners
    from init_monitor.structure.operations import Operation
    from init_monitor.structure.owners import Owners
    from init_monitor.structure.sites import MixingSite

_POOLS = Family.POOLS
_CARRYING = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE})


@dataclass(slots=True)
class Pending:
    """What has to be known of a call before it runs, because it may overwrite its inputs."""

    frame: Frame
    inputs: list[tuple[Tensor, Node]]
    version: int
    addition: Addition | None
    activation: str | None


class Trace:
    """One forward, as far as it has run.

    Args:
        graph: the nodes of its tensors.
        owners: which module holds which parameter.
        listeners: whom to tell what is found.

    Attributes:
        graph: the nodes of its tensors.
        activations: the activations that were called as functions, in execution order.
        sines: by what stands for a layer call, the number that its output is multiplied by before a sine.
        mixings: the weights that were used by functions, in execution order.
        reduced: what stands for the layers whose output was reduced to a single number at once.
        comparisons: the outputs that are compared with each other.
    """

    def __init__(self, graph: Provenance, owners: Owners, listeners: Listeners) -> None:
        self.graph = graph
        self.activations: list[ActivationSite] = []
        self.sines: dict[object, float] = {}
        self.mixings: list[MixingSite] = []
        self.reduced: set[object] = set()
        self.comparisons = Comparisons()
        self._losses: set[int] = set()
        self._activated: dict[Node, str] = {}
        self._after = Aftermath()
        self._owners = owners
        self._tell = listeners
        self._ordinals: dict[str, int] = {}
        self._streams = Streams()
        attends = listeners.on_attention
        self._attentions = None if attends is None else Attentions(attends, graph.node_of)
        self._ends = None if listeners.on_ends is None else Ends(listeners.on_ends, graph.node_of)

    @property
    def residuals(self) -> tuple[ResidualSite, ...]:
        """The residual additions so far, in execution order."""
        return self._streams.sites()

    @property
    def shared(self) -> AbstractSet[object]:
        """What stands for the layers whose output several functions read."""
        return self._after.shared()

    def close(self) -> None:
        """Let go of the values of a forward that is over: until the next, every garbage collection would look at all of them."""
        self.graph = Provenance()
        self._activated, self._attentions, self._ends = {}, None, None
        self._after.close()
        self._streams.close()

    def after_the_network(self) -> Arithmetic:
        """Return the activations and projection sums that only compute a loss, a likelihood or a log."""
        found = self._after.values(self._stays)
        return Arithmetic(
            activations=frozenset(self._activated[node] for node in found if node in self._activated),
            sums=frozenset(self._streams.name_of(node) for node in found if node.kind is Kind.RESIDUAL),
        )

    def before(
        self, operation: Operation, args: tuple[object, ...], kwargs: Mapping[str, object], frame: Frame
    ) -> Pending:
        """Look at a call that is about to run in ``frame``."""
        node_of = self.graph.node_of
        inputs = [(tensor, node_of(tensor)) for tensor in tensors_given(args, kwargs)]
        version = version_of(inputs[0][0]) if inputs else 0
        addition = None
        if operation.family in SUMMING:
            measured = self._tell.on_residual is not None
            addition = addition_in(self.graph, frame, operation, args, kwargs, measured=measured)
        activation = None if frame.built_in_activation else activation_of(operation, args, kwargs)
        return Pending(frame, inputs, version, addition, activation)

    def after(
        self,
        operation: Operation,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        result: object,
        pending: Pending,
    ) -> None:
        """Note what a call made, and report it."""
        given = pending.inputs
        first = given[0][0] if given else None
        written = first is not None and version_of(first) != pending.version
        outputs = [result] if isinstance(result, Tensor) else tensors_in(result)
        if written and first is not None and not is_among(first, outputs):
            outputs.append(first)
        each = operation.name in EACH and len(outputs) == len(given)
        for place, output in enumerate(outputs):
            inputs = given[place : place + 1] if each else given
            overwritten = written and output is first
            if not overwritten and is_among(output, [tensor for tensor, _ in given]):
                continue  # returned as it was, for instance by contiguous()
            if pending.addition is not None:
                node = self._residual(operation, pending.addition, pending.frame, output)
            else:
                node = Derivation(self.graph, pending.frame, operation, inputs).node(output, args, kwargs)
            self._note(operation, node, output)
            if operation.family is Family.MULTIPLIES and len(inputs) > 1:
                count_product(operation, [one for _, one in inputs], node, pending.frame)
            if overwritten or "out" in kwargs:
                self.graph.wrote(output, node)
            else:
                self.graph.bind(output, node)
        if outputs and first is not None:
            self._tell_of(operation, args, kwargs, pending, (None if written else first, outputs[0]))
            if operation.ends and self._ends is not None:
                self._ends.after(operation, args, kwargs)
            if operation.attends and self._attentions is not None:
                frame = pending.frame
                self._attentions.after(operation, args, kwargs, outputs[0], lambda: self._attention(frame))

    def _tell_of(
        self,
        operation: Operation,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        pending: Pending,
        tensors: tuple[Tensor | None, Tensor],
    ) -> None:
        """Report a call that made the second of two tensors from the first, ``None`` if that was overwritten."""
        given, output = tensors
        if operation.compares:
            self.comparisons.after(operation, [node for _, node in pending.inputs])
        if operation.name == "requires_grad":
            self._asks(output)
        if operation.name == "sin" and (sine := sine_behind(pending.inputs[0][1])):
            self.sines.update([sine])
        if pending.activation is not None:
            self._activation(pending.activation, pending.frame, given, output)
            self._activated[self.graph.node_of(output)] = self.activations[-1].name
        elif pending.frame.open and operation.mixes:
            self._mixing(operation, args, kwargs, pending, output)
        elif pending.frame.open and operation.family is Family.COMPUTES and not operation.attends:
            # A bias that is added to the logits of an attention belongs to what is measured of the attention.
            self._unknown(operation, pending)

    def _note(self, operation: Operation, node: Node, output: Tensor) -> None:
        """Note the size of a value, and what it does with the values that it is made from."""
        node.size = output.numel()
        self._after.made(node, outside=node.frame is self.graph.outside)
        if self._streams:
            self._streams.used(node)
        if operation.family is _POOLS and not output.dim():
            self.reduced.update(parent.maker for parent in node.parents if parent.maker is not None)

    def leave(self, module: nn.Module, frame: Frame, given: object, output: object) -> None:
        """Note that a module call ends.

        The output of a module that was not seen computing it (torchscript, an extension) is tied to its inputs.
        """
        came_in: set[int] | None = None
        for tensor in (output,) if isinstance(output, Tensor) else tensors_in(output):
            node = self.graph.seen(tensor)
            if node is not None:
                self._hand_on(tensor, node)
                continue
            if came_in is None:
                came_in = {id(item) for item in tensors_in(given) if item.grad_fn is None}
            if not carries_values(tensor) or isinstance(tensor, nn.Parameter) or id(tensor) in came_in:
                continue
            parents = tuple(self.graph.node_of(item) for item in tensors_in(given) if carries_values(item))
            node = self.graph.make(type(module).__name__, Kind.OTHER, parents, frame)
            node.trainable = frame.trainable
            self.graph.bind(tensor, node)
            self._hand_on(tensor, node)
        if isinstance(output, Tensor) and output.dim():
            return  # as a rule; a loss gives single numbers
        if frame.name and self._tell.on_loss is not None and is_loss(module, output, self._losses):
            nodes = [self.graph.node_of(item) for item in tensors_in(given) if carries_values(item)]
            if any(end.maker is not None for node in nodes for end in ends_of(node)):
                self._losses.add(id(module))
                self._tell.on_loss(frame.name)

    def _asks(self, tensor: Tensor) -> None:
        """Treat a leaf that requires a gradient as an input of what follows, though it was computed from constants."""
        node = self.graph.node_of(tensor)
        if isinstance(tensor, nn.Parameter) or node.stream or any(end.maker is not None for end in ends_of(node)):
            return
        source = self.graph.make("requires_grad", Kind.SOURCE, (), self.graph.outside)
        source.stream, source.size = True, tensor.numel()
        self.graph.bind(tensor, source)

    def _stays(self, node: Node) -> bool:
        """Say whether a value belongs to the network whoever reads it: a layer's output, or the sum of a skip and its branch."""
        if node.kind is Kind.RESIDUAL:
            return not self._streams.is_projection(node)
        return node.maker is not None and node not in self._activated

    @staticmethod
    def _hand_on(tensor: Tensor, node: Node) -> None:
        """Note that a module returns a value. A single number is usually a term of a loss, not a value of the network."""
        if tensor.dim():
            node.uses += 1

    def _residual(self, operation: Operation, addition: Addition, frame: Frame, output: Tensor) -> Node:
        left, right, form = addition.sum.left, addition.sum.right, addition.form
        if form is None:
            node = self.graph.make(operation.name, Kind.SCALE, (left.node, right.node), frame, main=addition.again)
            node.factor = None  # not known: how much larger the stream becomes depends on what it holds
            self._streams.repeated(node)
            return node
        skip, branch = (left, right) if form.skip_is_left else (right, left)
        node = self.graph.make(operation.name, Kind.RESIDUAL, (left.node, right.node), frame, main=skip.node)
        name, ordinal = self._number(frame, "")
        follows = self._streams.followed(skip.node, form.skip_scale)
        site = ResidualSite(
            name=name,
            owner=frame.name,
            ordinal=ordinal,
            kind="projection" if form.projection else "identity",
            skip=self._origin(skip.node),
            branch=self._origin(branch.node),
            skip_scale=form.skip_scale,
            branch_scale=form.branch_scale,
            follows=follows,
            long=form.long,
            query=form.query,
            operation=operation.name,
            skip_maker=maker_before_factors(skip.node),
        )
        self._streams.add(site, node, form.inner)
        if self._tell.on_residual is not None and addition.terms is not None:
            terms = addition.terms if form.skip_is_left else addition.terms[::-1]
            self._tell.on_residual(site, terms[0], terms[1], output)
        return node

    def _activation(self, kind: str, frame: Frame, given: Tensor | None, output: Tensor) -> None:
        name, _ = self._number(frame, f"/{kind}")
        outside = frame is self.graph.outside
        site = ActivationSite(name, frame.name, kind, in_place=given is None, outside=outside)
        self.activations.append(site)
        if self._tell.on_activation is not None:
            self._tell.on_activation(site, given, output)

    def _mixing(
        self,
        operation: Operation,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        pending: Pending,
        output: Tensor,
    ) -> None:
        mixing = mixing_of(operation, pending.inputs, args, kwargs)
        if mixing is None:
            return
        site = self._owners.site(mixing, operation.name, pending.frame.name, self._ordinals)
        if site is None:
            return
        self.mixings.append(site)
        if self._tell.on_mixing is not None:
            self._tell.on_mixing(site, mixing.given, output)

    def _unknown(self, operation: Operation, pending: Pending) -> None:
        """Report a weight that an unknown function takes."""
        weight = None if self._tell.on_unknown is None else weight_in(pending.inputs)
        held = None if weight is None else self._owners.place_of(weight)
        if held is not None and self._tell.on_unknown is not None:
            self._tell.on_unknown(*held, operation.name)

    def _attention(self, frame: Frame) -> tuple[str, str]:
        """Return the name of an attention that is computed in a call, and the path of its module."""
        name, ordinal = self._number(frame, "/attention")
        owner = name.rpartition("/")[0] if "/" in name else ""
        return (owner or "model") + (f"#{ordinal}" if ordinal > 1 else ""), frame.name

    def _number(self, frame: Frame, suffix: str) -> tuple[str, int]:
        owner = frame.name if frame.call <= 1 else f"{frame.name}@{frame.call}"
        key = f"{owner}{suffix}"
        ordinal = self._ordinals[key] = self._ordinals.get(key, 0) + 1
        return f"{key}#{ordinal}".lstrip("/"), ordinal

    def _origin(self, node: Node) -> str:
        while node.main is not None and node.kind in _CARRYING:
            node = node.main
        if node.kind is Kind.RESIDUAL:
            return self._streams.name_of(node)
        if node.kind is Kind.SOURCE:
            return "parameter" if node.param else "input"
        return node.frame.name
