"""What the Transformer should reach, by which command, at what cost."""

from official.utils.recipes import Cost, Recipe

_MODULE = "official.transformer.transformer"
_EPYC = "2 cores of an AMD EPYC with AVX512-BF16"

_ADAM = dict(
    optimizer="adam",
    beta1=0.9,
    beta2=0.997,
    epsilon=1e-9,
    schedule="inverse_sqrt",
    label_smoothing=0.1,
)


def _paper(name: str, dataset: str, model_size: str, peak: float, **bands) -> Recipe:
    """The recipe of 2019 for WMT, with 8 GPUs' tokens a step."""
    return Recipe(
        name=name,
        model="transformer",
        module=_MODULE,
        size="paper",
        flags=dict(
            _ADAM,
            dataset=dataset,
            model_size=model_size,
            vocab_size=33_000,
            # 2 * hidden_size^-.5 * warmup^-.5, its largest value.
            learning_rate=peak,
            warmup_steps=8_000,
            batch_size=8 * (4096 if model_size == "base" else 3072),
            train_steps=100_000 if model_size == "base" else 240_000,
            steps_between_evals=20_000,
            dtype="auto",
        ),
        bands=bands,
        seeds=(),
        cost=None,
        source="quoted tensorflow/models, benchmarks of 2019",
        is_default=model_size == "base",
    )


_NUMBERS = dict(
    _ADAM,
    dataset="numbers",
    model_size="small",
    vocab_size=512,
    beta2=0.98,
    schedule="linear",
    learning_rate=3e-3,
    warmup_fraction=0.1,
    batch_size=4096,
    dropout=0.0,
    attention_dropout=0.0,
    activation_dropout=0.0,
)

RECIPES = (
    Recipe(
        name="instant",
        model="transformer",
        module=_MODULE,
        size="instant",
        flags=dict(_NUMBERS, train_steps=150, steps_between_evals=150),
        # 66.12, 36.45 and 58.80.
        bands={"bleu_char": (25.0, 100.0)},
        seeds=(0, 1, 2),
        cost=Cost(seconds=36, memory_gib=1.4, machine=f"{_EPYC}, fp32"),
        source="measured 64ee0b7",
    ),
    Recipe(
        name="numbers",
        model="transformer",
        module=_MODULE,
        size="quick",
        flags=dict(_NUMBERS, train_steps=600, steps_between_evals=300),
        # .998, .997 and .999.
        bands={"exact_match": (0.95, 1.0)},
        seeds=(0, 1, 2),
        cost=Cost(seconds=73, memory_gib=1.4, machine=f"{_EPYC}, fp32"),
        source="measured 64ee0b7",
        is_default=True,
    ),
    Recipe(
        name="multi30k",
        model="transformer",
        module=_MODULE,
        size="full",
        flags=dict(
            _ADAM,
            dataset="text",
            train_source="train.en",
            train_target="train.de",
            validation_source="val.en",
            validation_target="val.de",
            eval_source="test2016.en",
            eval_target="test2016.de",
            model_size="medium",
            vocab_size=4000,
            beta2=0.98,
            learning_rate=2e-3,
            warmup_steps=600,
            batch_size=4096,
            train_steps=3_000,
            steps_between_evals=600,
            checkpoint_steps=100,
            average_checkpoints=5,
            dropout=0.3,
            attention_dropout=0.0,
            activation_dropout=0.0,
            dtype="auto",
        ),
        # One run with seed 0 each: 38.32 and 38.19.
        bands={"bleu": (36.0, 40.0)},
        seeds=(0,),
        cost=Cost(seconds=1225, memory_gib=2.4, machine=f"{_EPYC}, bf16"),
        source="measured a6e1ea3",
    ),
    Recipe(
        name="text",
        model="transformer",
        module=_MODULE,
        size="paper",
        flags=dict(
            _ADAM,
            dataset="text",
            model_size="base",
            vocab_size=16_000,
            # 512^-.5 * warmup^-.5
            learning_rate=7e-4,
            warmup_steps=4_000,
            batch_size=25_000,
            train_steps=100_000,
            steps_between_evals=5_000,
            dtype="auto",
        ),
        bands={},
        seeds=(),
        cost=None,
        source="quoted arXiv:1706.03762, section 5: hyperparameters alone",
        is_default=True,
    ),
    _paper("wmt14_base", "wmt14_en_de", "base", 9.9e-4, bleu=(27.0, 28.0)),
    _paper("wmt14_big", "wmt14_en_de", "big", 7.0e-4, bleu=(27.9, 29.2)),
)
