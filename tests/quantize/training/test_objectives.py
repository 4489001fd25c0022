"""Each term of a distillation against values by hand, or a formula written another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from quantize.training.objective import (
    IGNORED,
    TopTokens,
    activity_distillation,
    embedding_matching,
    feature_matching,
    resampled,
    similarity_matching,
    token_distillation,
    top_tokens,
)

LABELS = torch.tensor([[4, 2, IGNORED], [5, 6, 2]])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_all_tokens_listed_it_is_the_whole_divergence() -> None:
    student, teacher, tau = drawn(2, 3, 9), 3.0 * drawn(2, 3, 9, seed=1), 2.0
    got = token_distillation(student, top_tokens(teacher, 9, tau), LABELS, tau)
    whole = functional.kl_div(
        (student / tau).log_softmax(-1), (teacher / tau).log_softmax(-1), reduction="none", log_target=True
    )
    assert float(got) == pytest.approx(tau**2 * float(whole.sum(-1)[LABELS != IGNORED].mean()), rel=1e-4)


def test_the_tokens_left_out_are_one_event() -> None:
    """Teacher (1/2, 1/4, 1/8, 1/8), student (1/4, 1/4, 1/4, 1/4), two tokens listed, one position."""
    teacher, student = torch.tensor([[[0.5, 0.25, 0.125, 0.125]]]).log(), torch.zeros(1, 1, 4)
    got = token_distillation(student, top_tokens(teacher, 2, 1.0), torch.tensor([[0]]), 1.0)
    assert float(got) == pytest.approx(0.5 * math.log(2.0) + 0.0 + 0.25 * math.log(0.5), abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_it_is_no_more_than_the_whole_divergence_and_grows_with_the_list(count: int) -> None:
    student, teacher = drawn(2, 3, 12), 2.0 * drawn(2, 3, 12, seed=1)
    fewer, more, whole = (
        float(token_distillation(student, top_tokens(teacher, listed, 1.0), LABELS, 1.0))
        for listed in (count, count + 1, 12)
    )
    assert 0.0 < fewer <= more + 1e-6 <= whole + 2e-6


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_equal_distributions_have_no_divergence(count: int, tau: float) -> None:
    logits = 2.0 * drawn(2, 3, 9)
    same = token_distillation(logits + 5.0, top_tokens(logits, count, tau), LABELS, tau)
    assert float(same) == pytest.approx(0.0, abs=1e-5)


def test_the_temperature_divides_both_and_its_square_multiplies() -> None:
    student, teacher = drawn(2, 3, 9), drawn(2, 3, 9, seed=1)
    cold = token_distillation(student, top_tokens(teacher, 4, 1.0), LABELS, 1.0)
    warm = token_distillation(3.0 * student, top_tokens(3.0 * teacher, 4, 3.0), LABELS, 3.0)
    assert float(warm) == pytest.approx(9.0 * float(cold), rel=1e-4)


def test_positions_without_a_label_take_no_part() -> None:
    student, teacher = drawn(2, 3, 9), top_tokens(drawn(2, 3, 9, seed=1), 4, 1.0)
    expected = token_distillation(student, teacher, LABELS, 1.0)
    student[0, 2] += 50.0 * drawn(9, seed=2)
    # What padding puts there: probability 1 for each token listed.
    teacher.log_probs[0, 2], teacher.token_ids[0, 2] = 0.0, 0
    student.requires_grad_()
    got = token_distillation(student, teacher, LABELS, 1.0)
    assert float(got.detach()) == pytest.approx(float(expected), rel=1e-6)
    got.backward()
    assert student.grad is not None and bool(student.grad.isfinite().all())
    assert not student.grad[0, 2].any() and bool(student.grad[1, 2].any())


def test_kept_in_half_precision_it_is_finite_and_nearly_the_same() -> None:
    """Rounded, a certain teacher's probabilities may sum to more than 1."""
    student, teacher = drawn(2, 3, 9), 12.0 * drawn(2, 3, 9, seed=1)
    exact = top_tokens(teacher, 8, 2.0)
    halved = TopTokens(exact.log_probs.half().float(), exact.token_ids)
    one, other = (float(token_distillation(student, listed, LABELS, 2.0)) for listed in (exact, halved))
    assert math.isfinite(other) and other == pytest.approx(one, rel=1e-2)


def test_the_likeliest_tokens_are_listed_with_their_log_probabilities() -> None:
    logits = drawn(2, 3, 9)
    listed = top_tokens(logits, 3, 2.0)
    expected = torch.from_numpy(np.sort((logits / 2.0).log_softmax(-1).numpy(), axis=-1)[..., ::-1][..., :3].copy())
    assert torch.allclose(listed.log_probs, expected)
    assert torch.equal(listed.token_ids[..., 0], logits.argmax(-1))
    assert top_tokens(logits, 50, 2.0).token_ids.shape == (2, 3, 9), "there are no more than the vocabulary has"


def test_features_are_compared_in_units_of_the_teachers_variance() -> None:
    teacher = torch.tensor([[[0.0, 2.0], [4.0, 6.0]]])  # variance 20 / 3
    assert float(feature_matching(teacher.clone(), teacher)) == 0.0
    assert float(feature_matching(teacher + 1.0, teacher)) == pytest.approx(3.0 / 20.0)
    student = drawn(2, 5, 6)
    target = drawn(2, 5, 6, seed=1)
    one = feature_matching(student, target)
    assert float(feature_matching(100.0 * student, 100.0 * target)) == pytest.approx(float(one), rel=1e-4)
    assert math.isfinite(float(feature_matching(student, torch.ones(2, 5, 6)))), "a teacher that says nothing"


def test_features_of_other_lengths_are_brought_to_the_students() -> None:
    teacher = drawn(2, 6, 4)
    halves = torch.stack([teacher[:, i : i + 2].mean(1) for i in (0, 2, 4)], dim=1)
    assert torch.allclose(resampled(teacher, 3), halves, atol=1e-6)
    assert resampled(teacher, 6) is teacher
    assert float(feature_matching(halves, teacher)) == pytest.approx(0.0, abs=1e-10)
    ramp = torch.arange(4.0).view(1, 4, 1)
    longer = resampled(ramp, 8)[0, :, 0]
    assert torch.allclose(longer, torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))


def test_embeddings_are_compared_by_their_direction() -> None:
    teacher = drawn(5, 6)
    assert float(embedding_matching(7.0 * teacher, teacher)) == pytest.approx(0.0, abs=1e-6)
    assert float(embedding_matching(-teacher, teacher)) == pytest.approx(2.0, abs=1e-6)
    across = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert float(embedding_matching(*across)) == pytest.approx(1.0)


def test_similarities_do_not_change_with_length_rotation_or_width() -> None:
    teacher = drawn(5, 6)
    rotation = torch.linalg.qr(drawn(6, 6, seed=2))[0]
    wider = torch.cat([3.0 * teacher @ rotation, torch.zeros(5, 4)], dim=1)
    assert float(similarity_matching(wider, teacher)) == pytest.approx(0.0, abs=1e-10)
    # Cosines: 0 within the student's pair, 1 within the teacher's; two of four entries differ by 1.
    assert float(similarity_matching(torch.eye(2), torch.ones(2, 3))) == pytest.approx(0.5)


def test_soft_activity_by_hand() -> None:
    logits, teacher = torch.zeros(1, 2, 1), torch.tensor([[[0.0], [math.log(3.0)]]])  # probabilities 1/2 and 3/4
    assert float(activity_distillation(logits, teacher)) == pytest.approx(math.log(2.0))
    right = float(activity_distillation(teacher, teacher))
    entropy = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (0.5, 0.75)]
    assert right == pytest.approx(sum(entropy) / 2)
    assert float(activity_distillation(teacher + 1.0, teacher)) > right
    assert float(activity_distillation(logits, teacher.repeat_interleave(2, dim=1))) == pytest.approx(math.log(2.0))


@pytest.mark.parametrize(
    ("term", "shape"),
    [(feature_matching, (2, 5, 6)), (embedding_matching, (5, 6)), (similarity_matching, (5, 6))],
)
def test_the_student_follows_the_gradient_to_its_teacher(term: object, shape: tuple[int, ...]) -> None:
    assert callable(term)
    student, teacher = drawn(*shape).requires_grad_(), drawn(*shape, seed=1)
    before = term(student, teacher)
    (gradient,) = torch.autograd.grad(before, student)
    assert float(gradient.abs().max()) > 0.0
    assert float(term(student.detach() - 0.1 * gradient / gradient.norm(), teacher)) < float(before.detach())
