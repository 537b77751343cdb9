export { Classifier } from './classifier';
export type { ConvolutionConfig, HeadConfig, ModelConfig, PlainNetworkOptions } from './config';
export { createModel, type ModelOptions } from './create';
export { cnn9, plainNetwork, sphereNet9 } from './plain';
