"""Computes BLEU of a file of translations.

python -m official.transformer.compute_bleu --translation=FILE --reference=FILE
"""

import os

from absl import flags

from official.transformer import bleu
from official.utils import app
from official.utils.errors import UserError
from official.utils.flags.definer import Definer
from official.utils.logs import console

_VARIANTS = ("both", "uncased", "cased")


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "compute_bleu")
    define.string("translation", None, "Translations, a line each.")
    define.string("reference", None, "What they are compared with, line by line.")
    define.choice("bleu_variant", "both", _VARIANTS, "Whether capitals count.")
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the scores.

    Args:
        flags_obj: parsed flags.

    Returns:
        `bleu_cased` and `bleu_uncased`, of sacreBLEU, and `bleu_2019_cased` and
        `bleu_2019_uncased`; 0 to 100.

    Raises:
        UserError: a flag is missing, a file cannot be read, or the numbers of lines
            differ.
    """
    if not (flags_obj.translation and flags_obj.reference):
        raise UserError("--translation=FILE and --reference=FILE are needed")
    from official.transformer import parallel_text

    translation, reference = (
        os.path.expanduser(path)
        for path in (flags_obj.translation, flags_obj.reference)
    )
    pairs = list(parallel_text.pairs([translation], [reference]))
    if not pairs:
        raise UserError(f"{translation} and {reference} are empty; name others")
    hypotheses, references = zip(*pairs, strict=True)
    found, rows = {}, []
    for name in ("cased", "uncased"):
        if flags_obj.bleu_variant not in ("both", name):
            continue
        is_cased = name == "cased"
        score, signature = bleu.corpus_bleu(
            hypotheses, references, lowercase=not is_cased
        )
        found[f"bleu_{name}"] = score
        rows.append((f"bleu_{name}", f"{score:.2f}", signature))
        score = bleu.bleu_2019(hypotheses, references, is_cased)
        found[f"bleu_2019_{name}"] = score
        rows.append((f"bleu_2019_{name}", f"{score:.2f}", "tensorflow/models of 2019"))
    print("\n".join(console.table(rows)), flush=True)
    return found


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
