"""Trains, evaluates and exports ResNet classifiers of images.

    python -m official.vision.image_classification.classifier
    python -m official.vision.image_classification.classifier --dataset=cifar10 ...

README.md beside this file is the model's card.
"""

from absl import flags

from official.utils import app
from official.utils.flags import core as flags_core
from official.vision.image_classification import recipes

DATASETS = ("shapes", "cifar10", "imagenet", "folder")
MODELS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnet50_v1", "resnet101_v1", "resnet152_v1"),
    *("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56"),
    "resnet110",
)
CROPS = ("distorted", "pad", "none")
NORMALIZATIONS = ("mean", "mean_std", "caffe", "per_image")
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, default_dataset="shapes")
    own = dict(flag_values=flag_values, module_name="classifier")
    flags.DEFINE_enum("model", "resnet50", MODELS, "The network.", **own)
    flags.DEFINE_integer(
        "num_classes",
        None,
        "Outputs of the network. Default: the classes of the data.",
        lower_bound=2,
        **own,
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Height and width of the images. Default: 224 or 32, as the network has it.",
        lower_bound=8,
        **own,
    )
    flags.DEFINE_enum(
        "crop",
        None,
        CROPS,
        "Training crops. distorted: a random part of random shape, resized, and "
        "flipped at random; pad: a shift by up to an eighth, and a flip; none. "
        "Default: distorted at 224 pixels, pad for the networks of 32.",
        **own,
    )
    flags.DEFINE_enum(
        "normalization",
        None,
        NORMALIZATIONS,
        "What is done to pixels. mean: the mean of ImageNet subtracted; mean_std: and "
        "divided by its deviation, as weights of PyTorch expect; caffe: blue first and "
        "the mean subtracted, as weights of Keras expect; per_image: mean 0 and "
        "deviation 1 in each image. Default: mean, and per_image for the networks of "
        "32 pixels.",
        **own,
    )
    flags.DEFINE_integer(
        "rand_augment_layers",
        0,
        "Operations of RandAugment on each training image; 0 is off.",
        lower_bound=0,
        **own,
    )
    flags.DEFINE_integer(
        "rand_augment_magnitude",
        10,
        "How strong they are.",
        lower_bound=0,
        upper_bound=10,
        **own,
    )
    flags.DEFINE_float(
        "mixup_alpha", 0.0, "Mixes images in pairs; 0 is off.", lower_bound=0, **own
    )
    flags.DEFINE_float(
        "cutmix_alpha",
        0.0,
        "Pastes a part of an image into another; 0 is off. With --mixup_alpha each "
        "pair takes one of the two.",
        lower_bound=0,
        **own,
    )
    flags.DEFINE_float(
        "label_smoothing",
        0.0,
        "Share of the training target that is spread over all classes.",
        lower_bound=0,
        upper_bound=0.9,
        **own,
    )
    flags.DEFINE_float(
        "batch_norm_momentum",
        None,
        "Momentum of the moving statistics of batch norm. Default: .9, and .997 for "
        "the networks of 32 pixels.",
        lower_bound=0,
        upper_bound=0.9999,
        **own,
    )
    flags.DEFINE_enum(
        "freeze",
        None,
        STAGES,
        "Keep the weights of the network up to and with this stage as they are.",
        **own,
    )
    flags.DEFINE_boolean(
        "new_head",
        False,
        "Take everything but the last layer from --init_checkpoint: for other classes.",
        **own,
    )
    flags.DEFINE_float(
        "max_skipped_fraction",
        0.01,
        "Share of the files of --dataset=folder that may be damaged; they are named "
        "and left out.",
        lower_bound=0,
        upper_bound=1,
        **own,
    )
    flags.DEFINE_float(
        "validation_fraction",
        0.1,
        "Share of the training pictures of --dataset=folder that is held out for "
        "validation where the folder has no part for it.",
        lower_bound=0.001,
        upper_bound=0.9,
        **own,
    )
    flags.DEFINE_string(
        "input",
        None,
        "Images to classify with --mode=predict: files, folders or patterns between "
        "commas.",
        **own,
    )
    flags.DEFINE_string(
        "output", None, "CSV file for --mode=predict. Default: the terminal.", **own
    )
    flags.DEFINE_integer(
        "top_k", 5, "Classes that --mode=predict gives a file.", lower_bound=1, **own
    )
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.vision.image_classification.task import ClassificationTask

    return ClassificationTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `accuracy`, `top_5_accuracy` and `loss` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, recipes.RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, recipes.RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
