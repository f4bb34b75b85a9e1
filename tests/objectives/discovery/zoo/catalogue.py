"""Every architecture of the zoo, by name."""

from . import attention, convolutional, hugging_face, perceptrons, sequences
from .architecture import Architecture

ZOO: dict[str, Architecture] = {
    "plain perceptron": perceptrons.PLAIN,
    "residual perceptron": perceptrons.RESIDUAL,
    "policy and value": perceptrons.TWO_HEADS,
    "two inputs": perceptrons.TWO_INPUTS,
    "autoencoder": perceptrons.AUTOENCODER,
    "mixture of experts": perceptrons.EXPERTS,
    "control flow by data": perceptrons.BRANCHING,
    "VGG": convolutional.VGG,
    "ResNet with bottlenecks": convolutional.RESNET,
    "MobileNet": convolutional.MOBILENET,
    "ShuffleNet": convolutional.SHUFFLENET,
    "DenseNet": convolutional.DENSENET,
    "U-Net": convolutional.UNET,
    "DCGAN": convolutional.DCGAN,
    "pixel shuffle": convolutional.ESPCN,
    "bidirectional LSTM": sequences.LSTM,
    "GRU with attention": sequences.GRU,
    "dilated convolutions with weight norm": sequences.TCN,
    "convolutions and a GRU": sequences.CRNN,
    "torch's encoder": attention.ENCODER,
    "GPT": attention.HANDMADE_GPT,
    "ViT": attention.VIT,
    "SwiGLU and grouped queries": attention.HANDMADE_LLAMA,
    "cross attention": attention.RESAMPLER,
    "BERT": hugging_face.BERT,
    "GPT-2": hugging_face.GPT2,
    "T5": hugging_face.T5,
    "Llama": hugging_face.LLAMA,
}
