"""Hooks on tensors for their gradients: called once, taken off together, beside those of others."""

from __future__ import annotations

import torch
from torch import Tensor

from init_monitor.torch_compat import Following


def made() -> tuple[Tensor, Tensor]:
    x = torch.ones(3, requires_grad=True)
    return x, x * 2


def test_a_hook_gets_the_gradient_and_is_taken_off() -> None:
    following, seen = Following(), list[Tensor]()
    _, y = made()
    following.add(y, seen.append)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward(retain_graph=True)
    assert [gradient.tolist() for gradient in seen] == [[1.0, 2.0, 3.0]]
    following.remove()
    y.sum().backward()
    assert len(seen) == 1
    assert not y._backward_hooks


def test_two_of_them_and_a_hook_of_the_users_do_not_meet() -> None:
    first, second = Following(), Following()
    called: list[str] = []
    _, y = made()
    first.add(y, lambda _: called.append("first"))
    second.add(y, lambda _: called.append("second"))
    y.register_hook(lambda _: called.append("own"))
    first.remove()
    y.sum().backward()
    assert called == ["second", "own"]


def test_a_leaf_and_a_tensor_that_is_followed_twice() -> None:
    following, called = Following(), list[str]()
    x, y = made()
    following.add(x, lambda _: called.append("leaf"))
    following.add(y, lambda _: called.append("once"))
    following.add(y, lambda _: called.append("again"))
    y.sum().backward(retain_graph=True)
    assert called == ["once", "again", "leaf"]
    following.remove()
    y.sum().backward()
    assert len(called) == 3


def test_tensors_that_are_gone_are_forgotten_and_others_still_followed() -> None:
    following, called = Following(), list[str]()
    _, gone = made()
    following.add(gone, lambda _: called.append("gone"))
    del gone
    _, y = made()
    following.add(y, lambda _: called.append("there"))
    following.prune()
    y.sum().backward()
    assert called == ["there"]
    following.remove()


def test_an_in_place_write_after_it_is_followed_as_register_hook_does() -> None:
    following, ours, theirs = Following(), list[Tensor](), list[Tensor]()
    for add in (lambda y: following.add(y, ours.append), lambda y: y.register_hook(theirs.append)):
        _, y = made()
        add(y)
        y.mul_(3.0).relu_()
        y.sum().backward()
    assert [gradient.tolist() for gradient in ours] == [gradient.tolist() for gradient in theirs]
