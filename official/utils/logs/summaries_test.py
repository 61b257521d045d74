import tensorflow as tf

from official.utils.logs.summaries import Summaries


def scalars(folder):
    found = []
    for file in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                number = float(tf.make_ndarray(value.tensor))
                found.append((event.step, value.tag, number))
    return found


def test_train_and_eval_go_to_their_folders(tmp_path):
    with Summaries(str(tmp_path)) as summaries:
        summaries.train(10, {"loss": 0.5, "learning_rate": tf.constant(0.25)})
        summaries.train(20, {"loss": 0.25})
        summaries.eval(20, {"loss": 0.75})
    assert scalars(tmp_path / "train") == [
        (10, "loss", 0.5),
        (10, "learning_rate", 0.25),
        (20, "loss", 0.25),
    ]
    assert scalars(tmp_path / "eval") == [(20, "loss", 0.75)]


def test_writers_are_made_at_the_first_scalar(tmp_path):
    summaries = Summaries(str(tmp_path))
    summaries.flush()
    summaries.train(1, {})
    assert not list(tmp_path.iterdir())
    summaries.eval(1, {"accuracy": 1.0})
    assert [child.name for child in tmp_path.iterdir()] == ["eval"]
    summaries.flush()
    assert scalars(tmp_path / "eval") == [(1, "accuracy", 1.0)]
    summaries.close()
    summaries.close()
