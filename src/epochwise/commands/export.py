"""`epochwise export`: write a model as ONNX, for programs that have no TensorFlow."""

import importlib.util
import json
import logging
from pathlib import Path

from epochwise.commands.find_model import found_model
from epochwise.common.errors import InputError
from epochwise.common.files import replacing
from epochwise.common.paths import display_path

OPSET = 17  # of ONNX's operators; ONNX Runtime has run it since 1.12


def export(model: Path | str | None, out: Path) -> None:
    """Write a model to `out` and print where; `model` is as for predict.

    The input `image` is float32 N×H×W×C in 0…1, as prepare makes it, the output the probability of each class. A model
    that was trained in mixed_bfloat16 is written in float32, in which its weights are: it rounds less. Raises
    InputError if there is no such model, if `out` cannot be written, or if tf2onnx is not installed.
    """
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise InputError(f"--out must be a .onnx in a folder that exists, got {out}")
    if importlib.util.find_spec("tf2onnx") is None:  # an optional dependency, whose import brings TensorFlow
        raise InputError("the export needs tf2onnx: pip install 'epochwise[onnx]'")
    with found_model(model) as (file, run):
        from epochwise.training.backend import tf  # before tf2onnx, which imports it too
        from epochwise.training.model_file import in_float32, load_model

        import tf2onnx  # isort: skip

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        trained, meta = load_model(file), run.read_record().mlflow.get("dataset", {}).get("meta", {})
        shape, classes = trained.input_shape, trained.output_shape[-1]
        network = in_float32(trained)  # tf2onnx takes bfloat16 for float16
        scored = tf.function(lambda image: network(image, training=False))
        signature = [tf.TensorSpec(shape, tf.float32, name="image")]
        converted, _ = tf2onnx.convert.from_function(scored, input_signature=signature, opset=OPSET)
        known = {"run_id": run.read_record().run_id, "class_names": json.dumps(meta.get("class_names") or [])}
        for key, value in known.items():
            converted.metadata_props.add(key=key, value=value)
        with replacing(out) as temporary:
            temporary.write_bytes(converted.SerializeToString())
    print(f"model {display_path(out)}")
    pixels = "×".join(map(str, shape[1:]))
    print(f"input image: float32 N×{pixels} in 0…1 (pixels / 255); output: N×{classes} probabilities")
