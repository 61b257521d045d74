from official.benchmark import decoding
from official.utils.flags import core as flags_core
from official.utils.testing.errors import message_of


def run(**values):
    return decoding.run(flags_core.make_flags(decoding.define_flags, **values))


def test_ours_alone(capsys):
    metrics = run(
        peers="none",
        dtypes="fp32",
        lengths="25",
        vocab_size=50,
        batch_size=2,
        beams=2,
        rounds=2,
        seconds=0.01,
    )
    assert metrics["sentences_per_second_official_fp32_25"] > 0.1
    table = capsys.readouterr().out.splitlines()
    assert table[-1].split()[:3] == ["25", "fp32", "official"]


def test_wrong_flags():
    assert "--lengths=8: should be whole numbers from 24 on" in message_of(
        run, lengths="8"
    )
    assert "--dtypes=fp8: should be among fp32, bf16" in message_of(run, dtypes="fp8")
    assert "--peers=jax: should be among torch, none" in message_of(run, peers="jax")
