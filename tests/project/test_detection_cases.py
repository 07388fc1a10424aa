"""What the cases of the detection benchmark are made from: defects, pathologies, and makers that repeat themselves."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from benchmarks.detection import defects, material, pathologies
from benchmarks.detection.case import Case, Evidence, Training
from benchmarks.detection.cases import generative, lookalikes, practice, sequences
from benchmarks.detection.lightning import Learner, sgd
from benchmarks.detection.optimizers import SignMomentum
from benchmarks.detection.running import train
from benchmarks.detection.sequence_nets import Attention, Recurrent, hidden_future

if TYPE_CHECKING:
    from benchmarks.detection.pathologies import Pathology

pytestmark = pytest.mark.untraced

CASES: tuple[Case, ...] = (*sequences.CASES, *generative.CASES, *practice.CASES, *lookalikes.CASES)


def _net(*, change: defects.Defect = defects.none) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.Softmax(-1), nn.Linear(16, 10))
    change(net)
    return net


def _training(*, change: defects.Defect = defects.none, losses: tuple[float, ...] = ()) -> Training:
    module = Learner(_net(change=change), nn.functional.cross_entropy, sgd(0.1))
    module.losses = list(losses)
    return Training(module, material.digit_vectors())


def _holds(pathology: Pathology, training: Training) -> bool:
    return pathology(training).holds


# --- the cases ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_makes_the_same_training_at_every_call(case: Case) -> None:
    first = case.make()
    then = torch.rand(1)
    second = case.make()
    assert torch.equal(then, torch.rand(1)), "dropout and noise would differ"
    ours, theirs = first.module.state_dict(), second.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for one, other in zip(next(iter(first.loader)), next(iter(second.loader)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("case", [case for case in CASES if case.fault], ids=lambda case: case.name)
def test_a_fault_changes_neither_the_parameters_there_are_nor_their_shapes(case: Case) -> None:
    twin = next(other for other in CASES if other.name == case.twin)
    shapes = [{n: p.shape for n, p in one.make().module.named_parameters()} for one in (case, twin)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("case", [case for case in CASES if case.culprits], ids=lambda case: case.name)
def test_every_culprit_pattern_of_a_path_names_something(case: Case) -> None:
    module = case.make().module
    names = [name for name, _ in module.named_modules()] + [name for name, _ in module.named_parameters()]
    for pattern in case.culprits:
        assert "#" in pattern or any(fnmatchcase(name, pattern) for name in names), pattern


# --- defects -----------------------------------------------------------------------------------------------------


def test_a_gaussian_defect_redraws_the_weights_that_match_and_no_others() -> None:
    changed, sound = _net(change=defects.gaussian(3.0, "2.*")), _net()
    assert 2.5 < changed.get_parameter("2.weight").std() < 3.5
    assert torch.equal(changed.get_parameter("0.weight"), sound.get_parameter("0.weight"))
    assert torch.equal(changed.get_parameter("2.bias"), sound.get_parameter("2.bias"))


def test_without_a_pattern_a_defect_is_everywhere() -> None:
    changed = _net(change=defects.constant(0.25))
    assert all(bool((changed.get_parameter(f"{i}.weight") == 0.25).all()) for i in (0, 2, 4))


def test_a_scaled_weight_is_the_old_one_times_a_factor() -> None:
    changed = _net(change=defects.scaled(3.0, "0.*"))
    assert torch.equal(changed.get_parameter("0.weight"), 3 * _net().get_parameter("0.weight"))


def test_a_layer_without_bias_cannot_be_biased() -> None:
    with pytest.raises(TypeError, match="1 has no bias to set"):
        defects.biased(-1.0, "1")(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False)))


# --- pathologies -------------------------------------------------------------------------------------------------


def test_what_a_training_does_not_reach_is_found_unmoved_and_what_it_moves_is_not() -> None:
    training = _training()
    training.module.get_parameter("net.2.weight").requires_grad = False
    train(training, 2)
    assert _holds(pathologies.unmoved(_training, "net.2.weight"), training)
    assert not _holds(pathologies.unmoved(_training, "net.0.weight"), training)
    assert not _holds(pathologies.unmoved(_training, "no.such.name"), training)
    assert not _holds(pathologies.unmoved(_training, "net.?.weight"), training)


def test_weights_that_went_a_hundredth_of_their_norm_went_less_than_two_and_more_than_half_of_it() -> None:
    training = _training(change=defects.scaled(1.01))
    assert _holds(pathologies.barely_moved(_training, 0.02), training)
    assert not _holds(pathologies.barely_moved(_training, 0.005), training)


def test_elements_that_kept_their_bits_are_counted() -> None:
    training = _training()
    training.module.get_parameter("net.0.weight").data[:4] += 1.0
    assert _holds(pathologies.stale(_training, 0.74, "net.0.weight"), training)
    assert not _holds(pathologies.stale(_training, 0.76, "net.0.weight"), training)


def test_a_network_that_ignores_its_input_has_one_representation() -> None:
    assert _holds(pathologies.one_representation("net.4"), _training(change=defects.constant(0.0, "0.*")))
    assert not _holds(pathologies.one_representation("net.4"), _training())


def test_units_that_are_zero_for_every_sample_are_counted_as_dead() -> None:
    def half(net: nn.Module) -> None:
        net.get_submodule("0").get_parameter("bias").data[:8] = -100.0

    assert _holds(pathologies.dead_units("net.1", 0.5), _training(change=half))
    assert not _holds(pathologies.dead_units("net.1", 0.6), _training(change=half))
    assert not _holds(pathologies.no_dead_units("net.1", zeros=0.5), _training(change=half))


def test_the_units_of_a_picture_are_its_channels() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    net.get_parameter("0.bias").data[0] = -100.0
    training = Training(Learner(net, nn.functional.cross_entropy, sgd(0.1)), material.digit_images(samples=64))
    assert _holds(pathologies.dead_units("net.1", 0.25), training)
    assert not _holds(pathologies.dead_units("net.1", 0.26), training)


def test_zeros_without_a_dead_unit_are_told_from_dead_units() -> None:
    assert _holds(pathologies.no_dead_units("net.1", zeros=0.3), _training())
    assert not _holds(pathologies.no_dead_units("net.1", zeros=0.9), _training())


def test_a_softmax_is_sharp_when_its_logits_are_large() -> None:
    assert _holds(pathologies.sharp("net.3", 0.9), _training(change=defects.scaled(1000.0, "2.*")))
    assert not _holds(pathologies.sharp("net.3", 0.9), _training())


def test_outputs_beyond_a_range_are_counted() -> None:
    assert _holds(pathologies.beyond("net.1", -1.0, 0.0, 0.2), _training())
    assert not _holds(pathologies.beyond("net.1", -1.0, 1e9, 0.01), _training())


def test_measuring_leaves_the_mode_of_the_network_as_it_was() -> None:
    training = _training()
    training.module.train()
    pathologies.one_representation("net.4")(training)
    assert training.module.training
    assert training.module.get_submodule("net").training


@pytest.mark.parametrize(
    ("losses", "sound", "fell", "improved"),
    [
        ((4.0, 3.0, 2.0, 1.0, 0.5), True, True, True),
        ((4.0, float("nan"), 2.0, 1.0, 0.5), False, False, False),
        ((4.0, 4.0, 4.0, 4.0, 4.0), True, False, False),
    ],
)
def test_losses_are_judged_by_their_end_and_none_may_be_nan(
    losses: tuple[float, ...], *, sound: bool, fell: bool, improved: bool
) -> None:
    training = _training(losses=losses)
    found: list[Any] = [pathologies.sound, pathologies.fell(1.0), pathologies.improved(0.5)]
    assert [_holds(pathology, training) for pathology in found] == [sound, fell, improved]


def test_several_pathologies_hold_together_or_not_at_all() -> None:
    yes, no = Evidence(holds=True, figure="a"), Evidence(holds=False, figure="b")
    assert pathologies.all_of(lambda _: yes, lambda _: yes)(_training()) == Evidence(holds=True, figure="a; a")
    assert pathologies.all_of(lambda _: yes, lambda _: no)(_training()) == Evidence(holds=False, figure="a; b")


# --- networks ----------------------------------------------------------------------------------------------------


def test_attention_agrees_with_torchs_own() -> None:
    torch.manual_seed(0)
    ours, x = Attention(8, 2), torch.randn(3, 5, 8)
    ours.hidden = hidden_future(5)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([p.weight for p in (ours.query, ours.key, ours.value)]).detach()
    theirs.in_proj_bias.data = torch.cat([p.bias for p in (ours.query, ours.key, ours.value)]).detach()
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    expected, _ = theirs(x, x, x, attn_mask=hidden_future(5))
    torch.testing.assert_close(ours(x), expected)


def test_a_row_of_attention_that_may_see_nothing_is_not_a_number() -> None:
    attention = Attention(8, 2)
    attention.hidden = hidden_future(5, shift=0)
    assert attention(torch.randn(1, 5, 8)).isnan().any()


def test_the_gates_of_a_balanced_recurrent_layer_are_orthogonal() -> None:
    cell = Recurrent(nn.LSTM, inputs=4, classes=2, width=6).cell
    for gate in cell.get_parameter("weight_hh_l0").chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))


def test_the_sign_of_a_momentum_moves_every_element_by_the_learning_rate() -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer = SignMomentum([weight], lr=0.01)
    weight.grad = torch.tensor([5.0, -1e-3, 2.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.01, 0.01, -0.01]))
    # Lion's step: sign(0.9 m + 0.1 g) with m = 0.01 g of the step before, then m moves.
    weight.grad = torch.tensor([-0.1, 1.0, 2.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.02, 0.0, -0.02]))


def test_a_text_continues_its_own_letters() -> None:
    letters, following = next(iter(material.text(length=6, samples=32)))
    assert torch.equal(letters[:, 1:], following[:, :-1])


def test_what_is_to_be_recalled_is_the_first_letter() -> None:
    sequences_, classes = next(iter(material.recall(letters=5, length=4)))
    assert torch.equal(sequences_[:, 0].argmax(-1), classes)


def test_of_flipped_labels_a_share_belongs_to_other_classes() -> None:
    clean = torch.cat([labels for _, labels in material.clusters()])
    noisy = torch.cat([labels for _, labels in material.clusters(flipped=0.4)])
    assert float((clean != noisy).float().mean()) == pytest.approx(0.4 * 0.9, abs=0.04)
