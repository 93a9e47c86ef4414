"""`ImageFeaturizer`, the featurize stage as a pyspark.ml Transformer."""

from __future__ import annotations

from typing import cast, get_args

from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame

from verger.errors import SettingsError
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.device import CPU, prepare_network_on
from verger.kernel.networks.inference import DecodeMode
from verger.kernel.networks.network import Network
from verger.kernel.networks.view_sets import VIEW_SETS, WHOLE, view_set_name
from verger.spark_ml.featurize_frame import featurize
from verger.tasks.featurize_batches import WorkerOptions


class ImageFeaturizer(
    Transformer, HasInputCol, HasOutputCol, DefaultParamsReadable["ImageFeaturizer"], DefaultParamsWritable
):
    """Transformer from photos to feature vectors: array<float>, null if the photo could not be decoded.

    Reads the bytes of photos from the column `inputCol` ("content", as in Spark's `binaryFile`), and drops this
    column. If the DataFrame has no such column, the workers read the files whose paths are in `pathCol` ("path").
    Adds the columns sha256, width and height in pixels (of the upright photo), `outputCol` ("features"), reason and
    detail (null for photos with features).

    model, weights, pooling, precision, preprocessing, views: see `verger models` and NetworkSpec.
    maxPixels: larger photos are rejected before they are decoded.
    decode: exact; or scaled: large JPEGs are decoded at a reduced scale, three times as fast, and the cosine of
    their features to the exact features is above 0.999.
    device: cpu (OpenVINO), cuda or onnx (ONNX Runtime), see docs/gpu.md. batchSize: photos per call of the device.
    """

    model: Param[str] = Param(Params._dummy(), "model", "name in the catalog", TypeConverters.toString)
    weights: Param[str] = Param(
        Params._dummy(),
        "weights",
        "imagenet, random:SEED or a file; unset: the model's default",
        TypeConverters.toString,
    )
    pooling: Param[str] = Param(Params._dummy(), "pooling", "avg, max or flatten", TypeConverters.toString)
    precision: Param[str] = Param(Params._dummy(), "precision", "f32 or bf16", TypeConverters.toString)
    preprocessing: Param[str] = Param(
        Params._dummy(),
        "preprocessing",
        "none, tf, caffe, torch or lite; unset: the model's default",
        TypeConverters.toString,
    )
    views: Param[str] = Param(
        Params._dummy(), "views", f"a set of views: {', '.join(VIEW_SETS)}; or 1 or 5", view_set_name
    )
    maxPixels: Param[int] = Param(Params._dummy(), "maxPixels", "limit on a photo's pixels", TypeConverters.toInt)
    decode: Param[str] = Param(Params._dummy(), "decode", "exact or scaled", TypeConverters.toString)
    device: Param[str] = Param(Params._dummy(), "device", "cpu, cuda or onnx", TypeConverters.toString)
    batchSize: Param[int] = Param(
        Params._dummy(),
        "batchSize",
        "photos per call on cuda or onnx; unset: the device's default",
        TypeConverters.toInt,
    )
    pathCol: Param[str] = Param(
        Params._dummy(), "pathCol", "path column, used if the DataFrame has no inputCol", TypeConverters.toString
    )

    @keyword_only
    def __init__(
        self,
        *,
        inputCol: str = "content",
        outputCol: str = "features",
        pathCol: str = "path",
        model: str = "MobileNetV2",
        weights: str | None = None,
        pooling: str = "avg",
        precision: str = "f32",
        preprocessing: str | None = None,
        views: str | int = WHOLE,
        maxPixels: int = DEFAULT_MAX_PIXELS,
        decode: str = "exact",
        device: str = CPU,
        batchSize: int | None = None,
    ) -> None:
        super().__init__()
        self._setDefault(
            inputCol="content",
            outputCol="features",
            pathCol="path",
            model="MobileNetV2",
            pooling="avg",
            precision="f32",
            views=WHOLE,
            maxPixels=DEFAULT_MAX_PIXELS,
            decode="exact",
            device=CPU,
        )
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]  # keyword_only's

    def spec(self) -> NetworkSpec:
        """Return the specification of the network; raises SettingsError."""
        names = ("model", "weights", "pooling", "precision", "preprocessing", "views")
        return NetworkSpec(**{name: self.getOrDefault(name) for name in names if self.isDefined(name)})

    def network(self) -> Network:
        """Return the network that is sent to the workers; raises WeightsError, SettingsError."""
        batch_size = self.getOrDefault(self.batchSize) if self.isDefined(self.batchSize) else None
        return prepare_network_on(self.spec(), self.getOrDefault(self.device), batch_size)

    def _decode_mode(self) -> DecodeMode:
        mode = self.getOrDefault(self.decode)
        if mode not in get_args(DecodeMode):
            raise SettingsError("decode", mode, get_args(DecodeMode))
        return cast("DecodeMode", mode)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        options = WorkerOptions(
            max_pixels=self.getOrDefault(self.maxPixels),
            content_column=self.getInputCol(),
            path_column=self.getOrDefault(self.pathCol),
            output_column=self.getOutputCol(),
            decode=self._decode_mode(),
        )
        return featurize(dataset, self.network(), options)
