"""Growth: what one more neuron in each layer of a trained model would bring."""
