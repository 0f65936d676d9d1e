"""Which samples a step sees: exact mix, every sample once an epoch, nothing but (seed, step) decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.training.collator import POSITIONS_STEP, round_up
from workflow_scripts.training.sampler import LengthGroupedOrder, MixedBatchSampler


def mixed(**changes):
    options = {"batch_size": 16, "written_share": 0.25, "steps": 20, "seed": 1, **changes}
    return MixedBatchSampler([5 + n % 17 for n in range(50)], **options)


def test_every_step_has_exactly_the_written_share():
    sampler = mixed()
    indices = list(sampler)
    assert len(indices) == len(sampler) == 20 * 16
    for step in range(20):
        batch = indices[16 * step : 16 * (step + 1)]
        assert sum(index >= 50 for index in batch) == 4
        assert len(set(batch)) == 16
        assert all(0 <= index < 100 for index in batch)


def test_a_step_is_a_function_of_seed_and_step_alone():
    sampler = mixed()
    late_first = [sampler.batch(17), sampler.batch(3)]
    assert late_first == [mixed().batch(17), mixed().batch(3)]
    assert mixed(seed=2).batch(3) != late_first[1]
    # Longer runs of the same seed begin with the same steps.
    assert mixed(steps=40).batch(17) == late_first[0]


def test_spoken_and_written_orders_differ():
    sampler = mixed(batch_size=2, written_share=0.5)
    pairs = [sampler.batch(step) for step in range(20)]
    assert any(spoken != written - 50 for spoken, written in pairs)


@given(n=st.integers(4, 60), batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_an_epoch_uses_no_item_twice_and_leaves_out_less_than_a_batch(n, batch, seed):
    order = LengthGroupedOrder([(7 * k) % 13 for k in range(n)], batch, (seed,))
    seen = [item for step in range(order.steps_per_epoch) for item in order.batch(step)]
    assert len(set(seen)) == len(seen) > n - batch


def test_batches_hold_similar_lengths():
    lengths = [(37 * k) % 400 for k in range(400)]
    order = LengthGroupedOrder(lengths, 8, (0,))

    def spread(step):
        found = [lengths[item] for item in order.batch(step)]
        return max(found) - min(found)

    # 8 of 400 uniform lengths at random span 311 on average.
    assert sum(spread(step) for step in range(order.steps_per_epoch)) / order.steps_per_epoch < 155


@pytest.mark.parametrize("batch", [12, 4])
def test_micro_batches_of_four_leave_less_than_a_tenth_of_their_positions_empty(batch):
    """Lengths as of questions: most of them short, up to 300 positions; rounded up as the collator does."""
    lengths = [40 + int(260 * ((k * 0.6180339887) % 1) ** 3) for k in range(1200)]
    order = LengthGroupedOrder(lengths, batch, (0,))
    real = padded = 0
    for step in range(order.steps_per_epoch):
        rows = [lengths[item] for item in order.batch(step)]
        for start in range(0, batch, 4):
            part = rows[start : start + 4]
            real += sum(part)
            padded += 4 * round_up(max(part), POSITIONS_STEP)
    assert 1 - real / padded < 0.1


def test_too_few_samples_or_no_speech_is_an_error_with_a_remedy():
    with pytest.raises(ValueError, match="5 training samples for 12 in one batch; lower batch_size"):
        MixedBatchSampler([1] * 5, batch_size=16, written_share=0.25, steps=1, seed=0)
    with pytest.raises(ValueError, match=r"written_share 0\.9 leaves no spoken sample in a batch of 4"):
        MixedBatchSampler([1] * 9, batch_size=4, written_share=0.9, steps=1, seed=0)
