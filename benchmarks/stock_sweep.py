"""The stock way, for benchmarks/sweeps.py: one script with Hydra's multirun, Keras's fit on arrays, MLflow's autolog.

python stock_sweep.py -m epochs=2,4 dropout=0.25,0.5 data=data.npz

As most would write it: autolog logs the model and, given no requirements, finds them out in another process for each
job; fit and evaluate show their progress and score in batches of 32.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    data: str
    epochs: int = 12
    dropout: float = 0.5
    batch_size: int = 32
    learning_rate: float = 0.001
    seed: int = 0


ConfigStore.instance().store("config", Config)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg: Config) -> None:
    import keras
    import mlflow
    import numpy as np

    class Stopwatch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.monotonic()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.monotonic() - self.started)

    seconds: list[float] = []
    arrays = np.load(cfg.data)
    keras.utils.set_random_seed(cfg.seed)
    mlflow.set_tracking_uri(f"sqlite:///{Path(cfg.data).parent}/mlflow.db")
    mlflow.set_experiment("stock")
    mlflow.keras.autolog()
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dropout(cfg.dropout),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(cfg.learning_rate)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    with mlflow.start_run():
        mlflow.log_params({"dropout": cfg.dropout, "seed": cfg.seed})
        model.fit(
            arrays["x_train"],
            arrays["y_train"],
            batch_size=cfg.batch_size,
            epochs=cfg.epochs,
            validation_data=(arrays["x_validation"], arrays["y_validation"]),
            callbacks=[Stopwatch()],
        )
        loss, accuracy = model.evaluate(arrays["x_test"], arrays["y_test"])
        mlflow.log_metrics({"test_loss": loss, "test_accuracy": accuracy})
    print(f"JOB {json.dumps({'epochs': len(seconds), 'seconds': sum(seconds)})}")


if __name__ == "__main__":
    main()
