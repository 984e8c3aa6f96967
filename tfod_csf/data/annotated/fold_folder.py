"""Where the files of a fold are in the folder of a cross-validation."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class FoldFolder:
    """The folder of one fold.

    Attributes:
      output_dir: of the cross-validation.
      number: of the fold, from 1.

    >>> FoldFolder(pathlib.Path("cv"), 2).records_dir.as_posix()
    'cv/fold_2/tfrecords'
    """

    output_dir: pathlib.Path
    number: int

    @property
    def path(self) -> pathlib.Path:
        """The folder itself."""
        return self.output_dir / f"fold_{self.number}"

    @property
    def records_dir(self) -> pathlib.Path:
        """Of the records, as create_csf_tf_record writes them."""
        return self.path / "tfrecords"

    @property
    def pipeline_config(self) -> pathlib.Path:
        """The config of the training."""
        return self.path / "pipeline.config"

    @property
    def model_dir(self) -> pathlib.Path:
        """Of the training."""
        return self.path / "model"

    @property
    def exported_model(self) -> pathlib.Path:
        """The model folder."""
        return self.path / "exported_model"

    @property
    def evaluation_dir(self) -> pathlib.Path:
        """Of the exported model on the images that test."""
        return self.path / "evaluation"
