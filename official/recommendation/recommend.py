"""Recommends items to users by a trained model, from its checkpoint or SavedModel.

python -m official.recommendation.recommend --model_dir=DIR --users=1,2
python -m official.recommendation.recommend --saved_model=DIR --users_file=FILE
"""

from absl import flags

from official.recommendation import ncf
from official.utils import app
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.flags.definer import Definer


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "recommend")
    define.string("model_dir", None, "The folder of a run; the ratings are read again.")
    define.string(
        "saved_model", None, "A SavedModel, in place of --model_dir; it needs no files."
    )
    define.string(
        "data_dir", None, "Folder of the ratings. Default: where the run found them."
    )
    ncf.define_recommendations(define)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Writes user, item and score, a line each; what a user took is left out.

    Args:
        flags_obj: parsed flags.

    Returns:
        Nothing.

    Raises:
        UserError: there is no trained model, or a flag or file is wrong.
    """
    if bool(flags_obj.model_dir) == bool(flags_obj.saved_model):
        raise UserError(
            "give --model_dir, the folder of a trained model, or --saved_model; one of "
            "the two"
        )
    if flags_obj.saved_model:
        return _from_saved_model(flags_obj)
    given = {
        name: flags_obj[name].value
        for name in flags_obj
        if not flags_obj[name].using_default_value
    }
    return ncf.run(
        flags_core.make_flags(
            ncf.define_flags, ncf.recipes.RECIPES, mode="predict", **given
        )
    )


def _from_saved_model(flags_obj) -> dict[str, float]:
    import tensorflow as tf

    from official.recommendation import recommendations

    users = recommendations.asked(flags_obj.users, flags_obj.users_file)
    path = flags_obj.saved_model
    try:
        recommend = tf.saved_model.load(path).signatures["serving_default"]
        most = recommend.structured_outputs["item_id"].shape[1]
    except (OSError, KeyError, ValueError, tf.errors.OpError):
        raise UserError(
            f"--saved_model={path} is no SavedModel of recommendations; name the "
            "folder that `ncf` exported"
        ) from None
    if not flags_obj["top_k"].using_default_value and flags_obj.top_k > most:
        raise UserError(
            f"--top_k={flags_obj.top_k}: this SavedModel gives {most} items; export it "
            "again with --mode=export and that --top_k"
        )
    recommendations.write(recommend, users, flags_obj.output_file, flags_obj.top_k)
    return {}


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
