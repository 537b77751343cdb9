export { Classifier } from './classifier';
export { cnn, cnn9, type CnnOptions, sphereNet9 } from './cnn';
export { type ConvolutionConfig, learnables } from './config';
export type { HeadConfig } from '../losses';
export { createModel, type ModelConfig, type ModelOptions, networkNames } from './registry';
export { resNet18, type ResNet18Options, resNet32, type ResNet32Options, sphereResNet18, sphereResNet32 } from './resNet';
