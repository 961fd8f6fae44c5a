"""Hydra's sweeper for `epochwise run -m`. Hydra looks for sweepers in the package hydra_plugins only.

Hydra imports this file whenever it composes a configuration.
"""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """Hydra's own sweeper over a grid, without composing each job: `epochwise run` has checked them all.

    To compose takes about 0.1 s, and Hydra would do that for the whole grid before the first job runs.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass

    def _parse_config(self) -> list[str]:
        """The grid of a preset, its ranges and globs written out as `epochwise run` has done with what was typed."""
        from epochwise.common.paths import find_root  # in here for their cost
        from epochwise.config.overrides import listed

        return [listed(override, find_root() / "conf") for override in super()._parse_config()]
