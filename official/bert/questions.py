"""A question about a text."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Question:
    """A question with the text that holds its answer.

    Attributes:
        id: names the question.
        question: what is asked.
        context: the text.
        answers: good ones, each a part of the text; none where it holds none.
        answer_start: the character of the text at which the first answer begins.
        is_impossible: whether the text holds no answer.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    answer_start: int | None
    is_impossible: bool
