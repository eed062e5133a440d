"""The lean forward pass changes nothing but the work."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sentiment_monitor.score.checkpoint import open_checkpoint


def test_lean_logits_are_the_networks_own_with_and_without_padding(tiny: Path) -> None:
    import torch

    from sentiment_monitor.score.lean_bert import lean
    from sentiment_monitor.score.torch_engine import load_network

    checkpoint = open_checkpoint(tiny)
    network = load_network(checkpoint, "eager")
    ids = torch.from_numpy(np.random.default_rng(2).integers(4, 40, (5, 17)))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    mask[4, 2:] = 0
    with torch.no_grad():
        expected = network(input_ids=ids, attention_mask=mask).logits
        compiled = lean(load_network(checkpoint, "eager"))
        assert compiled is not None
        found = compiled(ids, mask)
        one = compiled(ids[:1, :3], mask[:1, :3])
        expected_one = network(input_ids=ids[:1, :3], attention_mask=mask[:1, :3]).logits
    assert expected.std() > 0.05
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(one, expected_one, atol=1e-5)


def test_other_architectures_are_left_alone() -> None:
    from sentiment_monitor.score.lean_bert import lean

    config = SimpleNamespace(model_type="roberta", is_decoder=False, add_cross_attention=False)
    assert lean(SimpleNamespace(config=config)) is None
