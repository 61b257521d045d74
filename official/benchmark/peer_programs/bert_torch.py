"""Fine-tunes BERT-base of Hugging Face on PyTorch, eager or compiled; see serving.py.

Attention is `scaled_dot_product_attention`, which the library chooses by itself.
"""

import bert_serving
import numpy as np
import serving
import torch
import transformers


def main() -> None:
    """Serves until stdin ends."""
    arguments = bert_serving.parser(__doc__.splitlines()[0])
    arguments.add_argument("--compile", action="store_true")
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = transformers.BertConfig(
        vocab_size=options.vocab_size, num_labels=bert_serving.NUM_CLASSES
    )
    model = transformers.BertForSequenceClassification(config).to(device).train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.AdamW(
        model.parameters(), options.learning_rate, weight_decay=0.0
    )
    inputs, labels = bert_serving.random_batch(options)
    batch = {
        name: torch.from_numpy(value).to(device)
        for name, value in (inputs | {"labels": labels}).items()
    }
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.dtype == "bf16")
    network = torch.compile(model) if options.compile else model

    def step():
        optimizer.zero_grad()
        with autocast:
            loss = network(**batch).loss
        loss.backward()
        if options.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        return loss.detach()

    def train(count):
        # Reading a loss waits for the device, so all are read in the end.
        return float(np.mean([float(loss) for loss in [step() for _ in range(count)]]))

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    serving.serve(options.batch_size, parameters, versions, train)


if __name__ == "__main__":
    main()
