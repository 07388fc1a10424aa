"""Any number of processes in one: runs their exchanges in step, and counts what each gives to the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from init_monitor.capture.exchange import How

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.capture.exchange import Asking, Question

REDUCTIONS = {How.SUM: np.add, How.LARGEST: np.maximum, How.ANY_BIT: np.bitwise_or}


class SimulatedRanks:
    """Carries questions and answers, and fails where two processes do not ask the same: one would wait for ever.

    Attributes:
        given: bytes that one process gave away, by what became of them.
        rounds: how often all of them had to wait for one another.
    """

    def __init__(self) -> None:
        self.given: Counter[How] = Counter()
        self.rounds = 0

    def run(self, askings: Sequence[Asking]) -> list[Any]:
        """Return what the exchange of each process returns."""
        answers: list[Any] = [None] * len(askings)
        while True:
            went = [_goes_on(asking, answer) for asking, answer in zip(askings, answers, strict=True)]
            asked = [questions for questions, _ in went if questions is not None]
            if not asked:
                return [result for _, result in went]
            assert len(asked) == len(askings), "some have done while others wait"
            forms = {tuple((one.how, one.array.dtype, one.array.shape, one.source) for one in each) for each in asked}
            assert len(forms) == 1, f"not the same questions: {forms}"
            self.rounds += 1
            self.given.update(dict.fromkeys(How, 0))
            for one in asked[0]:
                self.given[one.how] += one.array.nbytes
            answered = [self._answer(list(same)) for same in zip(*asked, strict=True)]
            answers = [answered] * len(askings)

    @staticmethod
    def _answer(same: list[Question]) -> Any:
        how, arrays = same[0].how, [one.array for one in same]
        if how is How.ALL:
            return arrays
        if how is How.FROM_ONE:
            return arrays[same[0].source]
        result = arrays[0].copy()
        with np.errstate(all="ignore"):
            for array in arrays[1:]:
                REDUCTIONS[how](result, array, out=result)
        return result


def _goes_on(asking: Asking, answer: Any) -> tuple[Sequence[Question] | None, Any]:
    """Return what a process asks next, or what it has come to."""
    try:
        return asking.send(answer), None
    except StopIteration as done:
        return None, done.value
