"""Keras ResNet v1 (He et al. 2016) as TFOD's Keras types use it: split between conv4 and conv5, or in one piece."""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams

# Blocks of conv2, conv3, conv4 and conv5 (He et al. 2016, table 1).
_RESNET_V1_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# TFOD's, which act unless a config overrides them.
HYPERPARAMS = LayerHyperparams(
    kernel_initializer=tf_keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal"),
    batch_norm={"momentum": 0.997, "epsilon": 1e-5},
)


class _Stages:
    """The stages of the network, all with the same hyperparameters."""

    def __init__(self, hyperparams: LayerHyperparams):
        self._hyperparams = hyperparams

    def conv(self, x, filters: int, kernel_size: int, name: str, strides: int = 1, padding: str = "same"):
        """A convolution without bias, and batch norm."""
        arguments = self._hyperparams.conv_arguments(use_bias=False)
        x = tf_keras.layers.Conv2D(filters, kernel_size, strides, padding, name=f"{name}_conv", **arguments)(x)
        for layer in self._hyperparams.batch_norm_layers(f"{name}_bn"):
            x = layer(x)
        return x

    def activation(self, x, name: str):
        return self._hyperparams.activation_layer(name)(x)

    def bottleneck_block(self, x, filters: int, name: str, stride: int = 1, conv_shortcut: bool = False):
        """1x1, 3x3, 1x1 and the shortcut. Their order numbers the variables of a checkpoint (layer_with_weights-N)."""
        shortcut = self.conv(x, 4 * filters, 1, f"{name}_0", stride) if conv_shortcut else x
        x = self.activation(self.conv(x, filters, 1, f"{name}_1", stride), f"{name}_1_relu")
        x = self.activation(self.conv(x, filters, 3, f"{name}_2"), f"{name}_2_relu")
        x = self.conv(x, 4 * filters, 1, f"{name}_3")
        x = tf_keras.layers.Add(name=f"{name}_add")([shortcut, x])
        return self.activation(x, f"{name}_out")

    def stack(self, x, filters: int, blocks: int, name: str, stride: int):
        x = self.bottleneck_block(x, filters, f"{name}_block1", stride, conv_shortcut=True)
        for i in range(2, blocks + 1):
            x = self.bottleneck_block(x, filters, f"{name}_block{i}")
        return x

    def conv2_to_conv4(self, image, blocks: tuple[int, ...]) -> list:
        """The outputs of the three stages, of strides 4, 8 and 16; the stride is on a stage's first 1x1."""
        x = tf_keras.layers.ZeroPadding2D(3, name="conv1_pad")(image)
        x = self.activation(self.conv(x, 64, 7, "conv1", strides=2, padding="valid"), "conv1_relu")
        x = tf_keras.layers.MaxPooling2D(3, 2, "same", name="pool1_pool")(x)
        conv2 = self.stack(x, 64, blocks[0], "conv2", stride=1)
        conv3 = self.stack(conv2, 128, blocks[1], "conv3", stride=2)
        return [conv2, conv3, self.stack(conv3, 256, blocks[2], "conv4", stride=2)]


def build(depth: int) -> Halves:
    """ResNet v1 split between conv4 and conv5.

    conv5 starts with stride 1 here, on crops that hold only the cells its stride of 2 would read.
    """
    blocks, stages = _RESNET_V1_BLOCKS[depth], _Stages(HYPERPARAMS)
    image = tf_keras.Input([None, None, 3], name="image")
    conv4 = stages.conv2_to_conv4(image, blocks)[-1]
    proposal_features = tf_keras.Model(image, conv4, name=f"resnet{depth}_to_conv4")
    crop = tf_keras.Input([None, None, 1024], name="crop")
    conv5 = stages.stack(crop, 512, blocks[3], "conv5", stride=1)
    return proposal_features, tf_keras.Model(crop, conv5, name=f"resnet{depth}_conv5"), 2


def build_backbone(depth: int, hyperparams: LayerHyperparams = HYPERPARAMS) -> tf_keras.Model:
    """ResNet v1 in one piece: images [B, H, W, 3] to conv2, conv3, conv4 and conv5, of strides 4, 8, 16 and 32."""
    blocks, stages = _RESNET_V1_BLOCKS[depth], _Stages(hyperparams)
    image = tf_keras.Input([None, None, 3], name="image")
    maps = stages.conv2_to_conv4(image, blocks)
    maps.append(stages.stack(maps[-1], 512, blocks[3], "conv5", stride=2))
    return tf_keras.Model(image, maps, name=f"resnet{depth}")
