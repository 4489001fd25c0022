"""Which ONNX operators TensorRT's parser takes.

From the parser's own table (docs/operators.md of onnx/onnx-tensorrt) for 8.5, the newest that was at hand, and the
layer and group normalisation that came after it. What is listed is taken to parse in 10.3, 10.13 and 11.4; what is not,
may be refused. No TensorRT was at hand to try.
"""

from __future__ import annotations

_NAMES = (
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu "
    "Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div "
    "Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm "
    "GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization "
    "HardSigmoid HardSwish Identity If InstanceNormalization IsNaN LRN LSTM LayerNormalization LeakyRelu Less "
    "LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min "
    "Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN RandomNormal "
    "RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize "
    "ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size "
    "Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK "
    "Transpose Trilu Unsqueeze Upsample Where Xor"
)
PARSED = frozenset(_NAMES.split())
"""Their names."""

EINSUM_ELLIPSIS_SINCE = (10, 12)
GROUP_NORM_21_SINCE = (10, 9)

CONSTANT_INPUTS: dict[tuple[str, int], tuple[str, tuple[int, int] | None]] = {
    ("Slice", 3): ("axes", (10, 3)),
    ("Squeeze", 1): ("axes", (10, 7)),
    ("Unsqueeze", 1): ("axes", (10, 7)),
    ("Pad", 3): ("axes", None),
    ("CumSum", 1): ("axis", None),
    ("TopK", 1): ("k", None),
    **{
        (f"Reduce{kind}", 1): ("axes", None)
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    },
}
"""Input → its name, and the version since which it may be computed; None: in no version.

The importer's own checks and change logs (onnx/onnx-tensorrt: 10.3 took computed axes of Slice, pull request 987; 10.7
those of Squeeze and Unsqueeze, 1004; of a reduction "axis input must be an initializer" to this day). CumSum, TopK and
Pad are as its table of operators has them.
"""

COMPUTED_SLICE_TYPES = ((10, 13), "INT32")
"""Before this version, the one type that is documented for the axes of a Slice which are computed."""
